"""The same work as pipe.mjs over multiprocessing.Pipe. Prints rates as JSON."""
import json
import sys
import time
from multiprocessing import Pipe, Process


def peer(connection, small, trips, larges):
    connection.send("up")
    for _ in range(small):
        connection.recv()
    connection.send("done")
    for _ in range(trips):
        connection.send(connection.recv())
    for count in (larges, larges):
        for _ in range(count):
            connection.recv_bytes()
        connection.send("done")


def main(small, trips, large, larges):
    here, there = Pipe()
    child = Process(target=peer, args=(there, small, trips, larges))
    child.start()
    here.recv()
    start = time.perf_counter()
    for i in range(small):
        here.send({"id": i, "x": 1})
    here.recv()
    result = {"small": small / (time.perf_counter() - start)}
    start = time.perf_counter()
    for i in range(trips):
        here.send(i)
        here.recv()
    result["trips"] = trips / (time.perf_counter() - start)
    data = bytes(large)
    for _ in range(larges):
        here.send_bytes(data)
    here.recv()
    start = time.perf_counter()
    for _ in range(larges):
        here.send_bytes(data)
    here.recv()
    result["bulk"] = large * larges / 1e9 / (time.perf_counter() - start)
    child.join()
    print(json.dumps(result))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
