"""W1 by Dask: N squares through a scheduler and two worker processes with one thread each, then LONE tasks one at a time.

usage: dask-w1.py N LONE; prints one line of JSON.
"""
import json
import logging
import sys
import time

import psutil
from distributed import Client, LocalCluster


def square(n):
    return n * n


def cpu():
    me = psutil.Process()
    return sum(sum(p.cpu_times()[:2]) for p in [me, *me.children(recursive=True)])


if __name__ == '__main__':
    count, lone = int(sys.argv[1]), int(sys.argv[2])
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR, host='127.0.0.1', protocol='tcp://')
    client = Client(cluster)
    assert sum(client.gather(client.map(square, range(-200, 0), pure=False))) == sum(n * n for n in range(201))
    before, start = cpu(), time.perf_counter()
    total = sum(client.gather(client.map(square, range(count), pure=False)))
    ms, used = (time.perf_counter() - start) * 1000, cpu() - before
    assert total == (count - 1) * count * (2 * count - 1) // 6
    times = []
    for n in range(lone):
        start = time.perf_counter()
        assert client.submit(square, n, pure=False).result() == n * n
        times.append((time.perf_counter() - start) * 1000)
    client.close()
    cluster.close()
    print(json.dumps({'ms': ms, 'cpuSeconds': used, 'loneMs': times}), flush=True)
