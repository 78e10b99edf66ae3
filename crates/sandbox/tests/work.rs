//! Work goes on in the jail: what a shell and its everyday programs do is the same as outside.

#[macro_use]
#[path = "common/stories.rs"]
mod stories;
mod common;

use std::time::{Duration, Instant};

use common::{World, everyone, must_succeed};

stories! {
    pipes_lists_and_exit_codes, Same, r#"
        printf 'b\na\nc\n' | sort | tee sorted | tr a-z A-Z && echo yes || echo no
        false || echo "rescued $?"
        set +e +o pipefail
        (exit 3) | (exit 4) | true; echo "${PIPESTATUS[*]}"
        ! true; echo $?
        { echo out; echo err >&2; } 2>&1 | cat -n
        seq 100000 | head -n 1
        if [[ -s sorted && ! -e absent ]]; then cat sorted; fi
    "#;
    heredocs_and_here_strings, Same, r#"
        x='an $x'
        cat <<END
here $x $(echo substituted) \$kept
END
        cat <<'END'
$x stays `so`
END
        cat <<-END
		tabs go
		END
        cat <<< "string $x"
        bash <<'END' | tee out
for i in 1 2 3; do echo "inner $i"; done
END
        python3 - "$x" <<'END'
import sys; print(sys.argv[1:], sys.stdin.read() == '')
END
    "#;
    globs_braces_and_strange_names, Same, r#"
        touch 'a b' $'new\nline' -- '-dash' '*star' "quote'" 'ünï' .hidden
        mkdir -p d/{x,y}/{1..3}; touch d/{x,y}/{1..3}/f{01..03}.txt
        printf '[%s]\n' *
        shopt -s globstar extglob dotglob nullglob
        printf '%s\n' **/f02.txt; printf '[%s]\n' !(d|*star) none*
        find . -name '*.txt' -print0 | sort -z | xargs -0 -n 3 -P 1 echo
        for f in ./*; do rm -r -- "$f"; done; ls -A
    "#;
    substitutions_and_descriptors, Same, r#"
        diff <(printf '1\n2\n') <(printf '1\n3\n') || echo "differ $?"
        echo kept > >(cat -A); wait $!
        exec 3>third 4<<<four; echo to-three >&3; exec 3>&-; cat third; cat <&4
        echo in | cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/fd/0 <<< fd
        exec 5<>both; echo line >&5; cat both; cat /dev/null
        test -e /dev/full; echo x > /dev/full || echo "full $?"
        head -c 16 /dev/urandom | wc -c; head -c 5 /dev/zero | od -An -tx1
        [ -t 0 ] || echo 'no terminal'; tty || true
    "#;
    job_control_in_a_script, Same, r#"
        # The shell's own words about a killed job name its pid.
        exec 2>/dev/null; set -m
        sleep 30 & sleep 40 &
        jobs -r | sed 's/  */ /g'; kill %1; wait %1 || echo "first $?"
        kill -STOP %2; sleep 0.2; jobs -s | wc -l; kill -CONT %2; kill -KILL %2; wait %2 || echo "second $?"
        (sleep 0.1; exit 9) & wait -n || echo "any $?"
        sleep 0.2 & fg >/dev/null; echo back
        coproc cat; echo through >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"; kill $COPROC_PID
        wait || true
    "#;
    background_children_within_the_call, Same, r#"
        for i in 1 2 3 4 5; do (sleep "0.$i"; echo "$i" >> order) & done; wait; cat order
        nohup sh -c 'echo hung-up-not > nohup.txt' >/dev/null 2>&1 & wait $!; cat nohup.txt
        setsid -w sh -c 'echo own session; exit 0'
        (sleep 0.3; echo orphan >> order) & disown; sleep 0.6; tail -n 1 order
        timeout 0.2 sleep 5 || echo "timeout $?"; { timeout -s KILL 0.2 sleep 5 || echo "killed $?"; } 2>/dev/null
    "#;
    traps_and_signals_among_processes, Same, r#"
        trap 'echo usr1' USR1; kill -USR1 $$; trap - USR1
        (trap 'echo inner bye' EXIT; exit 0)
        ulimit -c 0
        # The shell's own words about a killed child name its pid.
        { for s in HUP INT QUIT PIPE ALRM TERM USR2 KILL SEGV ABRT; do
            bash -c "kill -$s \$\$" || echo "$s $?"
        done; } 2>/dev/null
        sleep 30 & pid=$!; kill -TERM $pid; wait $pid || echo "ended $?"
        ps -o comm= -p $$; kill -0 $$ && echo alive; kill -0 999999 2>/dev/null || echo nobody
        bash -c "trap 'echo bye' EXIT; exit 7" || echo "trapped $?"
    "#;
    temporary_files_and_directories, Same, r#"
        d=$(mktemp -d); f=$(mktemp); echo content > "$f"; mv "$f" "$d/g"; cat "$d/g"; stat -c %a "$d"
        case $d in /tmp/*) echo in-tmp;; esac
        t=$(mktemp -p . part.XXXX); test -f "$t"; rm "$t"
        mkfifo "$d/p"; (echo through > "$d/p") & cat "$d/p"; rm -r "$d"
        echo v > /var/tmp/mantlet-work-$$; cat /var/tmp/mantlet-work-$$; rm /var/tmp/mantlet-work-$$
        echo s > /dev/shm/mantlet-work-$$; cat /dev/shm/mantlet-work-$$; rm /dev/shm/mantlet-work-$$
        touch ~/.rc; ls -A ~; cd; pwd -P | grep -c home
    "#;
    files_modes_links_and_times, Same, r#"
        umask; echo one > a; ln a b; ln -s a c; cp -a c d; cp -p a e; chmod 640 e; chmod u+x,o= a; stat -c '%n %a %h %F' *
        touch -d '2020-02-02 12:00 UTC' e; TZ=Asia/Tokyo date -r e; mv e f; readlink c; realpath --relative-to=. c
        mkdir -m 700 m; install -m 755 f m/g; truncate -s 1M sparse; stat -c '%s %b' sparse
        dd if=/dev/zero of=sparse bs=1k seek=10 count=2 conv=notrunc status=none; cmp -n 10240 sparse /dev/zero
        fallocate -l 4096 alloc; stat -c %s alloc; exec 9>lock; flock 9; flock -n lock true || echo locked
        rename() { mv "$1" "$2"; }; rename f g; cp --reflink=auto g h; rm -rf m; find . -type l -delete; ls
    "#;
    text_tools_and_archives, Same, r#"
        seq 20 > n; sed -i '5,$d' n; awk '{s += $1} END {print s}' n; cut -c1 n | paste -sd+ ; sort -rn n | uniq -c
        grep -n 3 n; wc n; comm -12 n <(seq 3 9); join n n | column -t 2>/dev/null || join n n; od -c n | head -n 2
        mkdir t; cp n t/; tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -czf t.tgz t; tar tzf t.tgz
        mkdir u; tar xzf t.tgz -C u --no-same-owner; diff -r t u/t; gzip -9n n; zcat n.gz; sha256sum n.gz; xargs -n2 echo < t/n
        printf 'é\n' | iconv -f utf-8 -t latin1 | od -An -tx1; date -u -d @86400 +%F; perl -pe 's/(\d)/<$1>/' t/n
        base64 <<< text; expr 6 '*' 7; printf '%(%Y)T\n' 0; diff t/n /dev/null || true
    "#;
    sockets_between_processes_inside, Vary, r#"
        cat > s.py <<'END'
import os, socket, sys, threading
def serve(listener):
    while True:
        c, _ = listener.accept()
        with c: c.sendall(b'echo ' + c.recv(100))
names = [(socket.AF_INET, ('127.0.0.1', 0)), (socket.AF_INET6, ('::1', 0)), (socket.AF_UNIX, '/tmp/mantlet-%d' % os.getpid())]
for family, name in names:
    listener = socket.socket(family); listener.bind(name); listener.listen()
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    c = socket.socket(family); c.connect(listener.getsockname()); c.sendall(b'hello')
    print(family.name, c.recv(100).decode())
os.unlink(names[2][1])
u = socket.socket(type=socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0)); u.sendto(b'udp', u.getsockname()); print(u.recv(9))
a, b = socket.socketpair(); a.send(b'pair'); print(b.recv(9)); print(socket.getaddrinfo('localhost', 80)[0][4][1])
END
        python3 s.py
    "#;
    a_server_on_the_loopback, Vary, r#"
        mkdir www; echo '<p>served' > www/index.html
        python3 -u -m http.server --bind 127.0.0.1 --directory www 0 > log 2>&1 & server=$!
        until [ -s log ]; do sleep 0.05; done
        until port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' log) && [ -n "$port" ]; do sleep 0.05; done
        exec 3<>/dev/tcp/127.0.0.1/$port; printf 'GET / HTTP/1.0\r\n\r\n' >&3; tail -n 1 <&3
        python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:$port/index.html').read())"
        python3 -c "import urllib.request as u; print(u.urlopen('http://localhost:$port/').status)"
        kill $server; wait $server || echo "stopped $?"
    "#;
}

/// What a command leaves behind outside goes on; in the jail it is dead when the call returns.
#[test]
fn nothing_survives_the_call() {
    let line = "(sleep 1; echo late > late) >/dev/null 2>&1 & setsid sh -c 'sleep 1; echo late > later' >/dev/null 2>&1 & \
                echo started";
    for who in everyone() {
        let world = World::new("survives", who);
        must_succeed(&world.run_outside(line), "outside");
        std::thread::sleep(Duration::from_millis(1500));
        assert!(world.work().join("late").exists() && world.work().join("later").exists(), "the control");
        world.reset();
        let begin = Instant::now();
        let output = world.run(line);
        assert_eq!((output.status.code(), output.stdout), (Some(0), b"started\n".to_vec()), "{who:?}");
        assert!(begin.elapsed() < Duration::from_millis(900), "{who:?}: the call waited for its children");
        std::thread::sleep(Duration::from_millis(1500));
        assert!(world.tree().is_empty(), "{who:?}: something went on: {:?}", world.tree());
    }
}
