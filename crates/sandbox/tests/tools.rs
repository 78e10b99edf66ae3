//! Developers' tools do in the jail what they do outside: interpreters, compilers, builds, searches, databases.

#![allow(clippy::unwrap_used, reason = "a test")]

#[macro_use]
#[path = "common/stories.rs"]
mod stories;
mod common;

use std::path::{Path, PathBuf};

use common::{World, everyone, must_succeed, text};

stories! {
    python_runs_and_imports_what_the_project_has, Vary, r#"
        mkdir pkg; echo 'def f(): return "own module"' > pkg/__init__.py
        python3 -c 'import pkg, sys; print(pkg.f(), sys.argv, sys.stdin.read() == "")'
        python3 -c 'import sys; sys.exit(5)' || echo "code $?"
        python3 -c 'raise ValueError("x")' 2>&1 | tail -n 1 || true
        python3 -m venv --without-pip .venv; .venv/bin/python -c 'import sys; print(sys.prefix == sys.base_prefix)'
        python3 -c 'import ctypes, ssl, json, zoneinfo, locale, hashlib; print(json.dumps({"a": 1}), hashlib.sha256(b"").hexdigest())'
        python3 -m unittest -q pkg 2>&1 | tail -n 1; ls pkg/__pycache__ | wc -l
    "#;
    python_asyncio_threads_and_processes, Vary, r#"
        cat > a.py <<'END'
import asyncio, concurrent.futures as cf, multiprocessing as mp, queue, subprocess, sys, tempfile, threading
async def main():
    async def serve(r, w):
        w.write(b're: ' + await r.readline()); await w.drain(); w.close()
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    async def ask(n):
        r, w = await asyncio.open_connection(*server.sockets[0].getsockname()); w.write(b'%d\n' % n)
        return await r.read()
    print(await asyncio.gather(*(ask(n) for n in range(5))))
    p = await asyncio.create_subprocess_exec('sh', '-c', 'cat; exit 3', stdin=-1, stdout=-1)
    print(await p.communicate(b'piped'), p.returncode)
    try: await asyncio.wait_for(asyncio.sleep(9), 0.05)
    except asyncio.TimeoutError: print('timed out')
    print(await asyncio.to_thread(lambda: threading.current_thread() is threading.main_thread()))
    await asyncio.get_running_loop().getaddrinfo('localhost', 80)
def square(n): return n * n
if __name__ == '__main__':
    asyncio.run(main())
    with cf.ThreadPoolExecutor(4) as e: print(sum(e.map(square, range(100))))
    for how in ['fork', 'spawn', 'forkserver']:
        with mp.get_context(how).Pool(2) as p: print(how, p.map(square, range(5)))
    q, lock, value = mp.Queue(), mp.Lock(), mp.Value('i', 7); q.put(1); print(q.get(), lock.acquire(), value.value)
    from multiprocessing import shared_memory as sm
    s = sm.SharedMemory(create=True, size=64); s.buf[0] = 9; print(s.buf[0]); s.close(); s.unlink()
    print(subprocess.run(['sh', '-c', 'echo $0; exit 2'], capture_output=True))
    with tempfile.NamedTemporaryFile() as f: f.write(b'x'); f.flush(); print(len(open(f.name).read()))
END
        python3 a.py
    "#;
    node_runs_servers_workers_and_children, Vary, r#"
        cat > a.mjs <<'END'
import http from 'node:http'; import fs from 'node:fs/promises'; import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import { execFile, fork, spawnSync } from 'node:child_process'; import { promisify } from 'node:util'; import crypto from 'node:crypto';
if (!isMainThread) { parentPort.postMessage('from a worker'); } else if (process.send) { process.send('from a fork'); process.disconnect(); } else {
  const server = http.createServer((q, r) => r.end('served ' + q.url)).listen(0, '127.0.0.1');
  await new Promise(r => server.once('listening', r));
  console.log(await (await fetch(`http://127.0.0.1:${server.address().port}/x`)).text()); server.close();
  console.log(await new Promise(r => new Worker(new URL(import.meta.url)).once('message', r)));
  console.log(await new Promise(r => fork(process.argv[1]).once('message', r)));
  console.log((await promisify(execFile)('sh', ['-c', 'echo child'])).stdout.trim(), spawnSync('sh', ['-c', 'exit 4']).status);
  await fs.mkdir('d/e', { recursive: true }); await fs.writeFile('d/e/f', 'x'); console.log(await fs.readdir('d', { recursive: true }));
  console.log(crypto.createHash('sha256').update('').digest('hex')); console.error('to stderr');
  process.on('SIGTERM', () => { console.log('asked to end'); process.exit(6); }); process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000);
}
END
        node a.mjs || echo "code $?"
        { node -e 'process.abort()' || echo "aborted $?"; } 2>/dev/null
        node -p '[process.platform, process.cwd() === require("fs").realpathSync("."), process.stdin.isTTY]'
    "#;
    npm_scripts_with_their_hooks, Same, r#"
        cat > package.json <<'END'
{"name": "small", "version": "1.0.0", "type": "commonjs", "bin": {"small": "cli.js"}, "dependencies": {"dep": "file:dep"},
 "scripts": {"prebuild": "echo before", "build": "node build.js", "postbuild": "echo after", "test": "node --test --test-reporter=tap t.js | grep -c '^ok'",
             "fails": "exit 7", "env": "echo $npm_package_name $npm_lifecycle_event", "arg": "printf '[%s]'"}}
END
        echo 'require("fs").writeFileSync("out.js", "built " + require("dep"))' > build.js
        echo 'require("node:test")("works", () => {})' > t.js
        mkdir dep; echo '{"name": "dep", "version": "0.1.0"}' > dep/package.json; echo 'module.exports = "with dep"' > dep/index.js
        export npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false npm_config_offline=true npm_config_progress=false
        npm install 2>&1 | sed 's/ in .*//'
        npm run build; cat out.js; echo; npm test -s; npm run -s env; npm run -s arg -- a 'b c'
        npm run -s fails || echo "code $?"; npm ls --all 2>&1 | sed 1d; npm exec -c 'echo $npm_package_version'
        npm run nothing 2>&1 | head -n 1 || true; node -e 'require("dep")'
    "#;
    gcc_and_make_build_and_rebuild, Same, r#"
        printf '#include <stdio.h>\nint twice(int);\nint main(void) { printf("%%d\\n", twice(21)); return 3; }\n' > main.c
        echo 'int twice(int n) { return 2 * n; }' > twice.c
        cat > Makefile <<'END'
CFLAGS = -O2 -g -Wall -fPIC
app: main.o libtwice.so ; $(CC) -o $@ main.o -L. -ltwice -Wl,-rpath,'$$ORIGIN'
libtwice.so: twice.o ; $(CC) -shared -o $@ $^
clean: ; rm -f *.o *.so app
.PHONY: clean
END
        make -j2 -s; ./app || echo "code $?"; make; touch -d '+1 minute' twice.c; make -s 2>/dev/null; ./app || true
        echo 'int main(' > bad.c; { gcc bad.c 2>&1 || true; } | grep -c error; make nothing 2>&1 || echo "make $?"
        gcc -O1 -flto -static -x c - -o static <<< 'int main(void) { return 5; }'; ./static || echo "static $?"
        printf '#include <pthread.h>\nvoid *f(void *p) { return p; }\nint main(void) { pthread_t t; void *r; pthread_create(&t, 0, f, &t); pthread_join(t, &r); return r != &t; }\n' | gcc -pthread -x c - -o threads
        ./threads; make clean; ls
    "#;
    ripgrep_searches_as_outside, Same, r#"
        mkdir -p src/deep .hidden; printf 'alpha\nbeta needle\n' > src/a.txt; printf 'needle\0' > src/bin; echo needle > .hidden/h
        echo needle > src/deep/ignored.log; echo '*.log' > .ignore; for i in $(seq 50); do echo "needle $i" > src/deep/f$i; done
        rg -n needle src/a.txt; rg -c needle --sort path | head -n 5; rg -uu -l needle --sort path | wc -l; rg --files --sort path | tail -n 2
        rg -o -r '<$1>' 'needle (4\d)' --no-filename --sort path; rg absent || echo "none $?"; rg '(' 2>/dev/null || echo "wrong $?"
        echo 'piped needle' | rg needle
    "#;
    sqlite_keeps_its_locks_and_journals, Vary, r#"
        sqlite3 a.db "PRAGMA journal_mode=WAL; CREATE TABLE t(n INTEGER PRIMARY KEY, s TEXT);"
        for w in 1 2 3 4; do (for i in $(seq 25); do sqlite3 -cmd '.timeout 20000' a.db "INSERT INTO t(s) VALUES('$w-$i')"; done) & done; wait
        sqlite3 a.db "SELECT count(*), count(DISTINCT s) FROM t; PRAGMA integrity_check;"
        sqlite3 -json a.db "SELECT n, s FROM t WHERE n = 101"; sqlite3 a.db .dump | grep -c INSERT; sqlite3 a.db 'SELECT nothing' 2>/dev/null || echo "wrong $?"
        python3 -c "
import sqlite3
c = sqlite3.connect('b.db'); c.execute('create table x(y)'); c.executemany('insert into x values(?)', [(i,) for i in range(1000)]); c.commit()
print(c.execute('select sum(y) from x').fetchone())"
        ls
    "#;
}

/// The toolchain lies in the owner's home, which a jail does not have: the policy names it.
#[test]
fn cargo_builds_a_small_crate() {
    let cargo = PathBuf::from(std::env::var_os("CARGO").unwrap());
    let toolchain = cargo.parent().and_then(Path::parent).unwrap();
    for who in everyone() {
        let mut world = World::new("cargo", who);
        let toolchain = world.bind(toolchain);
        let script = format!(
            "set -eu; export PATH={}/bin:$PATH CARGO_NET_OFFLINE=true CARGO_TERM_COLOR=never\n{CARGO}",
            toolchain.display()
        );
        let plant = || {
            world.write("Cargo.toml", "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
            world.write("build.rs", "fn main() { println!(\"cargo:rustc-env=WHAT=built\") }\n");
            let main = "fn main() { println!(\"{} {:?}\", env!(\"WHAT\"), std::env::args().nth(1)) }\n";
            world.write("src/main.rs", format!("{main}#[test]\nfn works() {{}}\n"));
        };
        plant();
        let outside = world.run_outside(&script);
        must_succeed(&outside, "cargo outside the jail");
        world.reset();
        plant();
        let policy = world.policy(&format!("read = [{toolchain:?}]"));
        let (inside, _) = world.run_with(&policy, &script);
        assert!(inside == outside, "{who:?}: outside {outside:?}\ninside {inside:?}");
        let wanted =
            "built None\nbuilt Some(\"x\")\n1\nrebuilt None\nerror[E0425]: cannot find value `x` in this scope\n";
        assert_eq!(text(&inside.stdout), wanted, "{who:?}");
    }
}

const CARGO: &str = "
    cargo build -q; ./target/debug/small; cargo run -q --release -- x; cargo test -q 2>&1 | grep -c 'test result: ok'
    sed -i s/=built/=rebuilt/ build.rs; cargo build 2>/dev/null; ./target/debug/small
    echo 'fn main() { x }' > src/main.rs; cargo check -q 2>&1 | head -n 1";
