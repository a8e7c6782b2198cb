// The functions of the peers' workers. jest-worker and piscina load this module directly.
export const square = (x) => x * x;
export const echo = (numbers) => numbers;
export default ({ name, value }) => (name === "square" ? square(value) : echo(value));
