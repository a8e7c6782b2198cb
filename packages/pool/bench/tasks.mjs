import { task } from "@multiproc/core";

export const square = task(import.meta.url, function square(x) {
  return x * x;
});

export const length = task(import.meta.url, function length(numbers) {
  return numbers.length;
});

export const echo = task(import.meta.url, function echo(value) {
  return value;
});
