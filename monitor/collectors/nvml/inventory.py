"""Which GPUs there are and which of them the run may use, over all sessions with the driver."""

from pylon.monitor.collectors.nvml.device import Device
from pylon.monitor.collectors.nvml.driver import Driver, DriverError
from pylon.monitor.collectors.nvml.mig import instance_uuids
from pylon.monitor.collectors.nvml.visible_devices import hides_all, names_instances, visible_uuids
from pylon.monitor.status import Absence

_NAMELESS = "index:"


class Inventory:
    """The GPUs, found again by UUID in each session: numbers and handles do not outlive one.

    Args:
        driver: the open session.
        setting: value of CUDA_VISIBLE_DEVICES; None: not set.
    """

    def __init__(self, driver: Driver, setting: str | None) -> None:
        self._driver = driver
        self._setting = setting
        self._devices: list[Device] = []
        self._visible: list[Device] = []
        self._settled = False
        self.hides_all = hides_all(setting)

    @property
    def shown(self) -> list[Device]:
        """The GPUs that the run may use, in its order."""
        return self._devices if self._setting is None else self._visible

    def enumerate(self) -> None:
        """Find the GPUs of a new session. One without a handle costs no other.

        Raises:
            DriverError: the session is over, or the driver does not even count its GPUs.
        """
        former = {device.index: device for device in self._devices if device.index is not None}
        for device in self._devices:
            device.detach(Absence.LOST)
        silent: dict[int, Absence] = {}
        for index in range(self._driver.call("nvmlDeviceGetCount")):
            try:
                self._find(index)
            except DriverError as error:
                if error.session_over:
                    raise
                silent[index] = error.absence
        for index, reason in silent.items():
            before = former.get(index)
            if before is None or before.handle is not None:
                before = self._device(f"{_NAMELESS}{index}")
            before.detach(reason, index)
        # A nameless one of the last session has its name now, or is not counted any more.
        self._devices = [one for one in self._devices if one.index is not None or not _is_nameless(one)]
        self._choose()

    def look_again(self, device: Device) -> None:
        """Ask again for a GPU that the driver counted and gave no handle for.

        Raises:
            DriverError: the session is over.
        """
        index = device.index
        if index is None:
            return
        try:
            self._find(index, device)
        except DriverError as error:
            if error.session_over:
                raise
            device.detach(error.absence, index)
            return
        self._choose()

    def _find(self, index: int, silent: Device | None = None) -> None:
        """Attach the GPU with this number. `silent` is the entry for it so far."""
        handle = self._driver.call("nvmlDeviceGetHandleByIndex", index)
        uuid = self._driver.call("nvmlDeviceGetUUID", handle)
        device = next((one for one in self._devices if one.uuid == uuid), None)
        if silent is not None and silent is not device:
            if _is_nameless(silent):
                self._devices.remove(silent)
            else:
                # It was taken for another GPU, as that one had this number before.
                silent.detach(Absence.LOST)
        (device or self._device(uuid)).attach(index, handle)

    def _device(self, uuid: str) -> Device:
        device = Device(self._driver, uuid)
        self._devices.append(device)
        return device

    def _choose(self) -> None:
        """Put the GPUs in order and decide which of them the run sees.

        That is decided once, as CUDA decides it once in the run; but not before every GPU has a name,
        as one without might be meant.
        """
        self._devices.sort(key=lambda device: (device.index is None, device.index or 0))
        if self._setting is None or self._settled:
            return
        present = [device for device in self._devices if device.index is not None]
        instances: dict[str, str] = {}
        if names_instances(self._setting):
            for device in present:
                if device.handle is not None:
                    found = instance_uuids(self._driver, device.handle)
                    instances |= dict.fromkeys(found, device.uuid)
        by_uuid = {device.uuid: device for device in present}
        self._visible = [by_uuid[uuid] for uuid in visible_uuids(self._setting, list(by_uuid), instances)]
        self._settled = bool(present) and not any(_is_nameless(device) for device in present)


def _is_nameless(device: Device) -> bool:
    return device.uuid.startswith(_NAMELESS)
