// What the peers' workers call. jest-worker and piscina take the module as it stands.
export const square = (x) => x * x;
export const echo = (numbers) => numbers;
export default ({ name, value }) => (name === "square" ? square(value) : echo(value));
