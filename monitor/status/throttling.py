"""Why a GPU's clocks are below their maximum: the driver's bits in words."""

# nvmlClocksEventReasons (nvml.h), by the place of the bit. nvidia-smi prints the same mask.
_NAMES = {
    0: "gpu_idle",
    1: "applications_clocks_setting",
    2: "sw_power_cap",
    3: "hw_slowdown",
    4: "sync_boost",
    5: "sw_thermal_slowdown",
    6: "hw_thermal_slowdown",
    7: "hw_power_brake_slowdown",
    8: "display_clock_setting",
    9: "board_limit",
    10: "reliability",
}


def throttle_names(bits: int) -> tuple[str, ...]:
    """The reasons of a nvmlClocksEventReasons bit mask in words; 'bit_N' for one that has no name here."""
    places = [place for place in range(bits.bit_length()) if bits >> place & 1]
    return tuple(_NAMES.get(place, f"bit_{place}") for place in places)
