// The peer of the benchmark: receives messages, and answers after each phase.
export async function peer(connection, { warm, warmTrips, small, trips, larges }) {
  await connection.send("up");
  await take(connection, warm);
  await takeMany(connection, warm);
  await echo(connection, warmTrips);
  await take(connection, small);
  await takeMany(connection, small);
  await echo(connection, trips);
  for (const count of [larges, larges]) {
    for (let i = 0; i < count; i++) await connection.recvBytes();
    await connection.send("done");
  }
}

async function take(connection, count) {
  for (let i = 0; i < count; i++) await connection.recv();
  await connection.send("done");
}

async function takeMany(connection, count) {
  for (let remaining = count; remaining > 0; ) remaining -= (await connection.recvMany()).length;
  await connection.send("done");
}

async function echo(connection, count) {
  for (let i = 0; i < count; i++) await connection.send(await connection.recv());
}
