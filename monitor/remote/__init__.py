"""What is between one reading of a server and its connection.

    reader thread (one per server)              connector thread (while there is no connection)
    RemoteServer.read ──────────── link ──────> KeptConnection ── gate ──> open_channel
      send request, wait for its frame              backoff, or wait for the user
      never longer than the timeout

gate       few connects at a time, so that a fleet does not connect in one burst
changes    whether the user has acted since a server refused us
dialer     from a server's name to a channel, by the ssh_config of now

shards     which process reads which server
view       what came from there, as a user sees it
"""
