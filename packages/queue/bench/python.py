"""Python's side of queue.mjs: the same work over multiprocessing.Queue; prints items a second."""
import sys
import time
from multiprocessing import Process, Queue


def produce(queue, ready, go, count, size):
    buffer = bytes(size) if size > 0 else None
    ready.put("up")
    go.get()
    for i in range(1, count + 1):
        queue.put(buffer or {"id": i, "x": 1})


def consume(queue, ready, done, count):
    ready.put("up")
    for _ in range(count):
        queue.get()
    done.put("done")


def main(pairs, count, size):
    queue, ready, go, done = Queue(), Queue(), Queue(), Queue()
    children = [Process(target=produce, args=(queue, ready, go, count, size)) for _ in range(pairs)]
    children += [Process(target=consume, args=(queue, ready, done, count)) for _ in range(pairs)]
    for child in children:
        child.start()
    for _ in children:
        ready.get()
    start = time.perf_counter()
    for _ in range(pairs):
        go.put("go")
    for _ in range(pairs):
        done.get()
    print(pairs * count / (time.perf_counter() - start))
    for child in children:
        child.join()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
