// The other side of the benchmark: takes what comes, and answers when a stretch is over.
export async function peer(connection) {
  await connection.send("up");
  for (let i = 0; i < 200_000; i++) await connection.recv();
  await connection.send("done");
  for (let i = 0; i < 2000; i++) await connection.send(await connection.recv());
  for (let i = 0; i < 30; i++) await connection.recvBytes();
  await connection.send("done");
}
