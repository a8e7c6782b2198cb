"""Measures Python's Pool, and prints rates as JSON."""
import json
import multiprocessing
import sys
import time
from array import array


def square(x):
    return x * x


def length(numbers):
    return len(numbers)


MEASURED = 1.0


def rate(count, run):
    """Returns the number of items per second, as in measure.mjs."""
    since = now = time.perf_counter()
    runs = 0
    while now < since + MEASURED:
        run()
        runs += 1
        now = time.perf_counter()
    return count * runs / (now - since)


def main():
    many, trips, items, arrays = map(int, sys.argv[1:])
    numbers = list(range(items))
    since = time.perf_counter()
    with multiprocessing.Pool(2) as pool:
        pool.map(square, [1, 2], chunksize=1)
        result = {"ready": 1 / (time.perf_counter() - since)}

        def at_once():
            results = [pool.apply_async(square, (i,)) for i in range(many)]
            for each in results:
                each.get()

        result["many"] = rate(many, at_once)
        result["single"] = rate(many, lambda: pool.map(square, numbers[:many], chunksize=1))

        def one_by_one():
            for i in range(trips):
                pool.apply(square, (i,))

        result["trips"] = rate(trips, one_by_one)
        pool.map(square, numbers)
        result["map"] = rate(items, lambda: pool.map(square, numbers))

        def one_after_the_other():
            for _ in pool.imap(square, numbers[: items // 40]):
                pass

        result["imap"] = rate(items // 40, one_after_the_other)
        data = array("d", bytes(8_000_000))

        def large():
            for _ in range(arrays):
                pool.apply(length, (data,))

        result["arrays"] = rate(arrays * 8_000_000 / 1e9, large)
        print(json.dumps(result))


if __name__ == "__main__":
    main()
