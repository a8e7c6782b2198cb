"""The contender in Python of channel.mjs: prints messages per second, one way over multiprocessing.Pipe."""
import sys
import time
from multiprocessing import Pipe, Process


def peer(connection, count):
    connection.send("up")
    for _ in range(count):
        connection.recv()
    connection.send("done")


def main(count):
    here, there = Pipe()
    child = Process(target=peer, args=(there, count))
    child.start()
    here.recv()
    start = time.perf_counter()
    for i in range(count):
        here.send({"id": i, "x": 1})
    here.recv()
    print(count / (time.perf_counter() - start))
    child.join()


if __name__ == "__main__":
    main(int(sys.argv[1]))
