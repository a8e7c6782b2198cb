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
 * A guard's arguments are the folder to remove, or nothing, and the children at its start; then it reads lines: `watch PID`,
 * `forget PID`, and `own FOLDER` if that was made later. Of processes that have ended it also removes what they left in the
 * table of names, see `name-table.ts`.
 */

/** The guard as a shell script. */
export const WATCHDOG_SH = `
trap '' HUP INT QUIT TERM PIPE TSTP
owner=$PPID
folder=$1
shift
children=$*
removeNames() {
  for names in /tmp/multiproc-names-* /var/tmp/multiproc-names-* /dev/shm/multiproc-names-*; do
    [ -d "$names" ] || continue
    for process in "$@"; do
      for file in "$names"/*/"$process".*; do [ ! -e "$file" ] || rm -f -- "$file"; done
    done
    for name in "$names"/*; do [ ! -d "$name" ] || rmdir -- "$name"; done
    rmdir -- "$names"
  done
} 2>/dev/null
while read -r command argument; do
  case $command in
    watch) children="$children $argument" ;;
    own) folder=$argument ;;
    forget) rest=; for c in $children; do [ "$c" = "$argument" ] || rest="$rest $c"; done; children=$rest; removeNames "$argument" ;;
  esac
done
for c in $children; do kill -9 "$c"; done 2>/dev/null
[ -z "$folder" ] || rm -rf -- "$folder"
removeNames "$owner" $children
`;

/** The guard as a script for Node. */
export const WATCHDOG_JS = `
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]) try { process.on(signal, () => {}); } catch {}
const fs = require("fs");
const owner = process.ppid;
let [folder, ...pids] = process.argv.slice(1);
const children = new Set(pids.map(Number));
const list = (path) => { try { return fs.readdirSync(path); } catch { return []; } };
const remove = (path) => { try { fs.rmdirSync(path); } catch {} };
const removeNames = (ended) => {
  for (const parent of ["/tmp", "/var/tmp", "/dev/shm"])
    for (const names of list(parent).filter((each) => each.startsWith("multiproc-names-")).map((each) => parent + "/" + each)) {
      for (const name of list(names).map((each) => names + "/" + each)) {
        for (const file of list(name)) if (ended.includes(parseInt(file))) fs.rmSync(name + "/" + file, { force: true });
        remove(name);
      }
      remove(names);
    }
};
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const command = line.slice(0, line.indexOf(" ")), argument = line.slice(command.length + 1);
  if (command === "own") folder = argument;
  else if (command === "watch") children.add(Number(argument));
  else { children.delete(Number(argument)); removeNames([Number(argument)]); }
}).on("close", () => {
  for (const pid of children) try { process.kill(pid, "SIGKILL"); } catch {}
  if (folder !== "") fs.rmSync(folder, { recursive: true, force: true });
  removeNames([owner, ...children]);
});
`;
