/**
 * The guards of processes: nothing outlives its owner.
 *
 * Every process that has children has one *guard*: a tiny program that reads from a pipe which only its owner holds. The
 * owner tells it of each child before that child runs any user code. When the owner is gone, however it went, the kernel
 * closes the pipe: the guard kills the children that are left, removes the private folder, and ends.
 *
 * ```text
 *   owner ──pipe── guard          owner is SIGKILLed:   guard ── SIGKILL ──> child
 *     ├── child                                           └──── rm -rf ────> private folder
 *     └── child ──pipe── its own guard                  child is gone: its own guard does the same below it
 * ```
 *
 * So a child that is stuck in an endless loop goes as well, and it pays nothing for that: no thread, no timer. The guard is
 * a shell script (under 1 MB, no start-up); where there is no shell, the host's interpreter runs the same in JavaScript.
 *
 * A guard's arguments are the folder to remove, or nothing, and the children at its start; then it reads lines: `watch PID`
 * and `forget PID`, and for files to remove, with their folder if nothing else is in it, `hold PATH` and `drop PATH`.
 */

/** The guard as a shell script. */
export const SHELL_GUARD = `
trap '' HUP INT QUIT TERM PIPE TSTP
folder=$1
shift
children=$*
files=
while read -r word what; do
  case $word in
    watch) children="$children $what" ;;
    forget) rest=; for c in $children; do [ "$c" = "$what" ] || rest="$rest $c"; done; children=$rest ;;
    hold) files="$files $what" ;;
    drop) rest=; for f in $files; do [ "$f" = "$what" ] || rest="$rest $f"; done; files=$rest ;;
  esac
done
for c in $children; do kill -9 "$c"; done
for f in $files; do rm -f -- "$f"; rmdir -- "\${f%/*}"; done
[ -z "$folder" ] || rm -rf -- "$folder"
`;

/** The guard as a script for Node. */
export const SCRIPT_GUARD = `
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]) try { process.on(signal, () => {}); } catch {}
const [folder, ...pids] = process.argv.slice(1);
const children = new Set(pids.map(Number));
const files = new Set();
const fs = require("fs");
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, what] = line.split(" ");
  if (word === "watch") children.add(Number(what));
  else if (word === "forget") children.delete(Number(what));
  else if (word === "hold") files.add(what);
  else files.delete(what);
}).on("close", () => {
  for (const pid of children) try { process.kill(pid, "SIGKILL"); } catch {}
  for (const file of files) {
    fs.rmSync(file, { force: true });
    try { fs.rmdirSync(file.slice(0, file.lastIndexOf("/"))); } catch {}
  }
  if (folder !== "") fs.rmSync(folder, { recursive: true, force: true });
});
`;
