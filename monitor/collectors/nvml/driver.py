"""The door to pynvml (the nvidia-ml-py distribution): every call into the driver goes through here.

A call may take seconds or never return; nothing here guards against that, as nothing inside one
process can. The process may be replaced at any time.
"""

from typing import Any

import pynvml

from pylon.monitor.status import Absence

Handle = Any  # of pynvml, which has no types

# The call that `Driver.field_value` makes.
FIELD_VALUES = "nvmlDeviceGetFieldValues"

_ABSENCES = {
    pynvml.NVML_ERROR_NO_PERMISSION: Absence.DENIED,
    pynvml.NVML_ERROR_GPU_IS_LOST: Absence.LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED: Absence.LOST,
    pynvml.NVML_ERROR_TIMEOUT: Absence.HUNG,
}
# This card or driver will not answer it in this session, however often it is asked.
_FOR_GOOD = {
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_VGPU_ECC_NOT_SUPPORTED,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
}
# The library is not there or the driver not loaded: a machine without GPUs, not a fault.
_NO_DRIVER = {pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED}
# After a driver restart the old session answers with these: a new one is needed.
_SESSION_OVER = {pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED}
# One of these at one call may be that call's own; from all calls they mean that the handle is no
# longer good, as after a reset.
_BAD_HANDLE = {
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
}
# The member that holds a value of nvmlDeviceGetFieldValues, by its nvmlValueType_t.
_MEMBERS = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}
_NUMBERS_FOR_UNKNOWN = {
    pynvml.NVML_VALUE_NOT_AVAILABLE_uint.value,
    pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value,
}


class DriverError(Exception):
    """The driver has answered a call with an error.

    Args:
        call: what was called.
        code: nvmlReturn_t.
        message: the driver's own.

    Attributes:
        absence: why a field has no value then.
        for_good: asking again in this session gives the same.
        no_driver: there is no driver on this machine, or none loaded.
        session_over: the driver has forgotten this session.
        gpu_lost: the GPU does not answer at all.
        handle_bad: the handle may not be good any more.
    """

    def __init__(self, call: str, code: int, message: str) -> None:
        super().__init__(f"{call}: {message} ({code})")
        self.for_good = code in _FOR_GOOD
        self.absence = Absence.UNSUPPORTED if self.for_good else _ABSENCES.get(code, Absence.UNREACHABLE)
        self.no_driver = code in _NO_DRIVER
        self.session_over = code in _SESSION_OVER
        self.gpu_lost = code == pynvml.NVML_ERROR_GPU_IS_LOST
        self.handle_bad = code in _BAD_HANDLE


class Driver:
    """A session with the driver, and the count of calls into it.

    Attributes:
        calls: calls made so far, over all sessions.
        is_open: whether a session is open.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.is_open = False

    def open(self) -> None:
        """Begin a session. Raises DriverError."""
        self.call("nvmlInit")
        self.is_open = True

    def close(self) -> None:
        """End the session, if there is one."""
        if not self.is_open:
            return
        self.is_open = False
        try:
            self.call("nvmlShutdown")
        except DriverError:
            # The session was over on the driver's side already.
            return

    def call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 - pynvml has no types
        """Call the driver.

        Args:
            name: a function of pynvml.
            arguments: what it takes.

        Raises:
            DriverError: whatever the driver answered but success.
        """
        # pynvml requests a list of processes twice: its length first.
        self.calls += 2 if "RunningProcesses" in name else 1
        function = getattr(pynvml, name, None)
        if function is None:
            raise DriverError(name, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, "unknown to pynvml")
        try:
            return function(*arguments)
        except pynvml.NVMLError as error:
            raise DriverError(name, error.value, str(error)) from error
        except pynvml.NVMLLibraryMismatchError as error:
            raise DriverError(name, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, "unknown to driver") from error
        except UnicodeDecodeError as error:
            raise DriverError(name, pynvml.NVML_ERROR_UNKNOWN, "a text that is not UTF-8") from error

    def field_value(self, gpu: Handle, field: int) -> float:
        """One value of FIELD_VALUES, whose error lies inside the value.

        Args:
            gpu: its handle.
            field: NVML_FI_*.

        Raises:
            DriverError: the driver refused the call, or this value.
        """
        value = self.call(FIELD_VALUES, gpu, [field])[0]
        code = value.nvmlReturn
        if code == pynvml.NVML_ERROR_INVALID_ARGUMENT:
            # The call itself was accepted: it is this field that the driver does not know.
            code = pynvml.NVML_ERROR_NOT_SUPPORTED
        if code != pynvml.NVML_SUCCESS:
            raise DriverError(f"{FIELD_VALUES} {field}", code, str(pynvml.NVMLError(code)))
        member = _MEMBERS.get(value.valueType)
        if member is None:
            raise DriverError(f"{FIELD_VALUES} {field}", pynvml.NVML_ERROR_UNKNOWN, "of an unknown type")
        number: float = getattr(value.value, member)
        return number


def available(number: float) -> float | None:
    """A number of the driver's; None if it means 'not available'."""
    return None if number in _NUMBERS_FOR_UNKNOWN else number
