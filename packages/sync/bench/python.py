# Python's side of locks.mjs: nanoseconds of one acquire and release, uncontended and contended by two processes.
import multiprocessing as mp
import sys
import time


def work(lock, count):
    for _ in range(count):
        lock.acquire()
        lock.release()


if __name__ == "__main__":
    kind, count = sys.argv[1], int(sys.argv[2])
    lock = mp.get_context("spawn").Lock() if kind == "contended" else mp.Lock()
    if kind == "alone":
        begin = time.perf_counter()
        work(lock, count)
        print((time.perf_counter() - begin) / count * 1e9)
    else:
        context = mp.get_context("fork")
        lock = context.Lock()
        start = context.Barrier(3)

        def run():
            start.wait()
            work(lock, count)

        children = [context.Process(target=run) for _ in range(2)]
        for child in children:
            child.start()
        start.wait()
        begin = time.perf_counter()
        for child in children:
            child.join()
        print((time.perf_counter() - begin) / (2 * count) * 1e9)
