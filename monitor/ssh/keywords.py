"""What each keyword of ssh_config means here: obeyed, without effect, or a reason to refuse the server.

The rule: no server is logged in to that ssh would refuse. A keyword without an entry is one that a newer
OpenSSH knows; it prints all of them with their defaults, so it has no effect. See docs/decisions/0016.
"""

from collections.abc import Callable

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.answer import Answer
from pylon.monitor.ssh.server_name import ServerName

# By resolution.py and those that use the settings.
OBEYED = """
    addressfamily bindaddress certificatefile ciphers connecttimeout globalknownhostsfile hashknownhosts
    hostkeyalgorithms hostkeyalias hostname identitiesonly identityagent identityfile kexalgorithms macs
    port proxycommand proxyjump pubkeyacceptedalgorithms requiredrsasize revokedhostkeys
    stricthostkeychecking user userknownhostsfile
"""

# By ssh itself, before it prints what they come to.
OBEYED_BY_SSH = """
    canonicaldomains canonicalizefallbacklocal canonicalizehostname canonicalizemaxdots
    canonicalizepermittedcnames host ignoreunknown include match tag
"""

# Sets of keywords that change nothing for us, by the reason.
NO_EFFECT = {
    "nothing is forwarded": """
        clearallforwardings dynamicforward exitonforwardfailure forwardagent forwardx11 forwardx11timeout
        forwardx11trusted gatewayports localforward permitremoteopen remoteforward streamlocalbindmask
        streamlocalbindunlink tunnel tunneldevice xauthlocation
    """,
    "there is no terminal, and one command of ours": """
        enableescapecommandline escapechar forkafterauthentication localcommand obscurekeystroketiming
        permitlocalcommand remotecommand requesttty sendenv sessiontype setenv stdinnull
    """,
    "keys are the only way to log in; less is offered than ssh would": """
        addkeystoagent batchmode enablesshkeysign gssapiauthentication gssapiclientidentity
        gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey
        gssapiserveridentity gssapitrustdns hostbasedacceptedalgorithms hostbasedauthentication
        kbdinteractiveauthentication kbdinteractivedevices numberofpasswordprompts passwordauthentication
        pkcs11provider securitykeyprovider
    """,
    "host keys are taken from files alone; less is accepted than by ssh": """
        casignaturealgorithms nohostauthenticationforlocalhost updatehostkeys verifyhostkeydns
    """,
    "connections are kept, timed and tried again in a way of their own": """
        channeltimeout compression connectionattempts controlmaster controlpath controlpersist ipqos
        rekeylimit serveralivecountmax serveraliveinterval tcpkeepalive versionaddendum warnweakcrypto
    """,
    "only what ssh prints": "fingerprinthash loglevel logverbose syslogfacility visualhostkey",
}


def _set(value: str) -> bool:
    return value.lower() not in {"", "none", "no", "false"}


def _no(value: str) -> bool:
    return value.lower() in {"no", "false"}


def _without_publickey(value: str) -> bool:
    return value.lower() != "none" and "publickey" not in value.lower().split(",")


# When a value refuses the server, and what is to be done then.
REFUSES: dict[str, tuple[Callable[[str], bool], str]] = {
    "bindinterface": (_set, "BindAddress with an address of that interface"),
    "checkhostip": (_set, "'CheckHostIP no': the key is looked up under the name alone"),
    "knownhostscommand": (_set, "the keys in a file that UserKnownHostsFile names"),
    "preferredauthentications": (_without_publickey, "'publickey' among them: there is no other login"),
    "proxyusefdpass": (_set, "a ProxyCommand that passes the data itself"),
    "pubkeyauthentication": (_no, "'yes': there is no other login"),
    "refuseconnection": (_set, "a server that ssh connects to"),
}


def refuse_what_ssh_would(name: ServerName, answer: Answer) -> None:
    """Refuse a server for which a keyword is set that we cannot obey.

    Raises:
        MonitorSettingError: with all such keywords.
    """
    found = [
        f"{keyword} is {value!r}, which is not supported; expected {expected}"
        for keyword, (refuses, expected) in REFUSES.items()
        for value in answer.all(keyword)
        if refuses(value)
    ]
    if found:
        raise MonitorSettingError(f"ssh_config of {str(name)!r}: {'; '.join(found)}.")


def fate(keyword: str) -> str | None:
    """What becomes of a keyword; None: it has no entry."""
    keyword = keyword.lower()
    if keyword in OBEYED.split() or keyword in OBEYED_BY_SSH.split():
        return "obeyed"
    if keyword in REFUSES:
        return "refuses"
    return "no effect" if any(keyword in group.split() for group in NO_EFFECT.values()) else None
