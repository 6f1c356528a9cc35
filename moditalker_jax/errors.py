"""The one exception for mistakes that a user can mend."""


class InputError(Exception):
    """Bad input, told in one line that names the file and the mend.

    Entry points print it as `error: ...` and exit with status 2; libraries let it pass.
    """
