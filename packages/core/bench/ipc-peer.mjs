// The receiver of channel.mjs over the IPC of child_process.
process.on("message", (message) => {
  if (message === "end") process.send(message);
});
process.send("up");
