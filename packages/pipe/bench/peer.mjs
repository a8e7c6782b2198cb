// The other side of the benchmark: takes what comes, and answers when a stretch is over.
const WARM = 5000;

export async function peer(connection) {
  await connection.send("up");
  for (const count of [WARM, 200_000]) {
    for (let i = 0; i < count; i++) await connection.recv();
    await connection.send("done");
    if (count === WARM) await echo(connection, WARM);
  }
  await echo(connection, 5000);
  for (let i = 0; i < 30; i++) await connection.recvBytes();
  await connection.send("done");
}

async function echo(connection, count) {
  for (let i = 0; i < count; i++) await connection.send(await connection.recv());
}
