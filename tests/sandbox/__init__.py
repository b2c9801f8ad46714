"""The sandbox: simulated CRMs and networks over real HTTP on loopback, one process, state in memory."""
