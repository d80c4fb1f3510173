# SPDX-License-Identifier: MIT
"""test_weir.py WEIR ASK_CORE ECHO HTTP_HELLO HTTP_ADMIT - the command and the examples
as a user meets them: real processes, sockets and curl, right input and wrong.

Prints what cmocka prints, so that each case is counted.
"""

import inspect
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../check"))
from deny_uring import deny     # noqa: E402: found by the line above

WEIR, ASK_CORE, ECHO, HTTP_HELLO, HTTP_ADMIT = sys.argv[1:6]
TIMEOUT = 60     # a machine that builds something beside it is slow


def run(*args, **kwargs):
    return subprocess.run([WEIR, *args], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=TIMEOUT, check=False, **kwargs)


class Server:
    """A server command on free ports; self.port, self.admin."""

    def __init__(self, *args, **kwargs):
        self.dir = tempfile.mkdtemp(prefix="weir-test-")
        port_file = os.path.join(self.dir, "port")
        listen = [] if "--listen" in args else ["--listen", "tcp://127.0.0.1:0"]
        self.process = subprocess.Popen(
            [WEIR, args[0], *listen, "--admin", "tcp://127.0.0.1:0", "--port-file", port_file,
             *args[1:]], stderr=subprocess.PIPE, text=True, **kwargs)
        deadline = time.monotonic() + TIMEOUT
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError("did not start: " + self.process.stderr.read())
            time.sleep(0.01)    # the file appears by rename: looking is all that is left
        with open(port_file, encoding="ascii") as file:
            lines = file.read().split()
        self.port = int(lines[0].rsplit(":", 1)[1]) if lines[0].startswith("tcp") else 0
        self.admin = int(lines[-1].rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        shutil.rmtree(self.dir, True)

    def connect(self, port=None):
        return socket.create_connection(("127.0.0.1", port or self.port), TIMEOUT)

    def url(self, path, admin=False):
        return f"http://127.0.0.1:{self.admin if admin else self.port}{path}"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT)


def curl(*args, data=None):
    done = subprocess.run(["curl", "-s", "-S", "--max-time", str(TIMEOUT), *args], input=data,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_all(sock):
    data = b""
    while True:
        part = sock.recv(65536)
        if not part:
            return data
        data += part


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, f"ended after {len(data)} of {size} bytes"
        data += part
    return data


def make_site(directory):
    content = {"index.html": b"<p>home</p>", "a.txt": b"text" * 1000,
               "big.bin": os.urandom(3 << 20)}
    for name, data in content.items():
        with open(os.path.join(directory, name), "wb") as file:
            file.write(data)
    os.mkdir(os.path.join(directory, "sub"))
    return content


# --- cases ---

def help_and_version_are_printed_and_succeed():
    for args in (["--help"], ["--version"], *([c, "--help"] for c in
                                              ("tour", "overload", "serve", "hello", "echo",
                                               "doctor"))):
        done = run(*args)
        assert done.returncode == 0 and "weir" in done.stdout, args


def wrong_usage_is_one_line_that_names_the_thing_and_exit_code_2():
    with tempfile.NamedTemporaryFile() as file:
        cases = [([], None), (["nosuch"], "nosuch"), (["echo"], "--listen"),
                 (["echo", "--listen", "bogus"], "bogus"),
                 (["echo", "--listen", "tcp://127.0.0.1:99999"], "99999"),
                 (["echo", "--listen", "tcp://localhost:1"], "localhost"),
                 (["echo", "--listen", "tcp://127.0.0.1:0", "--bogus"], "--bogus"),
                 (["echo", "--listen"], "--listen"),
                 (["echo", "--listen", "tcp://127.0.0.1:0", "--cores", "0"], "--cores"),
                 (["echo", "--listen", "tcp://127.0.0.1:0", "--cores", "999"], "999"),
                 (["echo", "--listen", "tcp://127.0.0.1:0", "--depth", "5"], "--depth"),
                 (["echo", "--listen", "tcp://127.0.0.1:0", "--depth", "x"], "'x'"),
                 (["echo", "--listen", "tcp://127.0.0.1:0", "--bufs", "9"], "bufs"),
                 (["echo", "--listen", "tcp://127.0.0.1:0", "--kernel", "x"], "kernel"),
                 (["doctor", "--kernel", "x"], "'x'"), (["tour", "--kernel", "x"], "'x'"),
                 (["echo", "--listen", "tcp://127.0.0.1:0", "--style", "x"], "--style"),
                 (["echo", "--listen", "tcp://127.0.0.1:0", "extra"], "extra"),
                 (["echo", "--listen", "tcp://127.0.0.1:0", "--admin", "x"], "--admin"),
                 (["serve"], "directory"), (["serve", "/nonexistent"], "/nonexistent"),
                 (["serve", file.name], file.name), (["tour", "--seconds", "x"], "--seconds"),
                 (["overload", "--seconds", "0"], "--seconds"),
                 (["overload", "--limiter", "x"], "'x'"), (["overload", "extra"], "extra"),
                 (["doctor", "extra"], "extra"), (["doctor", "--x"], "--x")]
        for args, thing in cases:
            done = run(*args)
            assert done.returncode == 2, (args, done.returncode)
            if thing:
                assert thing in done.stderr and done.stderr.count("\n") == 1, (args, done.stderr)


def a_kernel_in_the_environment_that_is_none_is_named():
    env = dict(os.environ, WEIR_KERNEL="nosuch")
    for args in (["echo", "--listen", "tcp://127.0.0.1:0"], ["doctor"], ["tour"]):
        done = run(*args, env=env)
        assert done.returncode == 2 and not done.stdout, done
        assert "WEIR_KERNEL" in done.stderr and "'nosuch'" in done.stderr, done
        assert done.stderr.count("\n") == 1, done
    done = run("doctor", "--kernel", "poll", env=env)
    assert done.returncode == 0 and "poll kernel: asked for" in done.stdout, done


def what_cannot_be_done_is_one_line_with_the_remedy_and_exit_code_1():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = run("echo", "--listen", address)
        assert done.returncode == 1 and address in done.stderr, done.stderr
        assert "another port" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    done = run("echo", "--listen", "tcp://127.0.0.1:0", "--port-file", "/nonexistent/port")
    assert done.returncode == 1 and "/nonexistent/port" in done.stderr, done.stderr


def each_echo_style_sends_everything_back():
    data = os.urandom(1 << 20)
    for style in ("coroutine", "async", "callback"):
        with Server("echo", "--style", style) as server, server.connect() as sock:
            sock.sendall(data[:100])
            assert read_exactly(sock, 100) == data[:100], style
            sender = os.fork()
            if not sender:
                sock.sendall(data)
                os._exit(0)
            assert read_exactly(sock, len(data)) == data, style
            os.waitpid(sender, 0)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b"", style
            assert server.stop() == 0, style


def unix_sockets_are_served_too():
    name = f"weir-test-{os.getpid()}"
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "echo.sock")
        with Server("echo", "--listen", f"unix:{path}", "--listen", f"unix:@{name}") as server:
            for address in (path, "\0" + name):
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(address)
                    sock.sendall(b"hi")
                    assert read_exactly(sock, 2) == b"hi"
            assert server.stop() == 0


def hello_answers_curl_and_gives_posts_back():
    with Server("hello") as server:
        assert curl(server.url("/")) == b"Hello, World!"
        assert b"200 OK" in curl("-I", server.url("/"))
        body = os.urandom(300000)
        assert curl("--data-binary", "@-", server.url("/"), data=body) == body
        assert curl("-H", "Transfer-Encoding: chunked", "--data-binary", "@-", server.url("/"),
                    data=body) == body
        assert server.stop() == 0


def serve_gives_files_types_conditions_and_refusals():
    with tempfile.TemporaryDirectory() as directory:
        content = make_site(directory)
        with Server("serve", directory) as server:
            assert curl(server.url("/")) == content["index.html"]
            for name in ("a.txt", "big.bin"):
                assert curl(server.url("/" + name)) == content[name], name
            head = curl("-I", server.url("/a.txt")).decode().lower()
            assert "content-length: 4000" in head and "content-type: text/plain" in head, head
            tag = [line.split(": ", 1)[1].strip() for line in head.splitlines()
                   if line.startswith("etag")]
            status = ["-o", "/dev/null", "-w", "%{http_code}"]
            assert tag and curl(*status, "-H", f"If-None-Match: {tag[0]}",
                                server.url("/a.txt")) == b"304"
            for path, code in (("/nosuch", b"404"), ("/sub", b"301")):
                assert curl(*status, server.url(path)) == code, path
            for path in ("/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2fetc/passwd"):
                assert curl(*status, "--path-as-is", server.url(path)) in (b"400", b"404"), path
            assert curl(*status, "-X", "DELETE", server.url("/a.txt")) == b"405"
            assert server.stop() == 0


def the_admin_address_tells_health_metrics_operations_and_tasks():
    with Server("hello") as server, server.connect() as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert curl(server.url("/health", True)) == b"ok\n"
        metrics = curl(server.url("/metrics", True)).decode()
        assert "# TYPE weir_enters_total counter" in metrics, metrics[:200]
        assert 'core="0"' in metrics
        tasks = json.loads(curl(server.url("/tasks", True)))
        assert {"service", "admin"} <= {task["name"] for task in tasks}, tasks
        tree = json.loads(curl(server.url("/tree", True)))
        assert len(tree) >= len(tasks) - 1, (tree, tasks)
        assert all(node["depth"] == 0 for node in tree), tree
        assert json.loads(curl(server.url("/streams", True))) == []
        ops = json.loads(curl(server.url("/inflight", True)))
        assert "ACCEPT" in {op["opcode"] for op in ops}, ops
        status = ["-o", "/dev/null", "-w", "%{http_code}"]
        assert curl(*status, server.url("/nosuch", True)) == b"404"
        assert curl(*status, "-X", "POST", server.url("/health", True)) == b"400"
        assert server.stop() == 0


def the_admin_address_answers_while_every_connection_is_taken():
    with Server("echo", "--max-conns", "4", "--cores", "1", "--depth", "16") as server:
        socks = [server.connect() for _ in range(12)]
        for sock in socks[:4]:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
        assert curl(server.url("/health", True)) == b"ok\n"
        assert b"weir_slots_taken" in curl(server.url("/metrics", True))
        for sock in socks[:4]:
            sock.close()
        socks[4].sendall(b"y")      # the next in line is served now
        assert read_exactly(socks[4], 1) == b"y"
        for sock in socks[5:]:
            sock.close()
        assert server.stop() == 0


def sigterm_lets_a_request_end_and_exits_with_0():
    with Server("hello") as server, server.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        assert sock.recv(1), "the answer begins before the body ends"
        server.process.send_signal(signal.SIGTERM)
        while curl_refused(server) is False:
            pass
        sock.sendall(b"cd")
        assert read_all(sock).endswith(b"abcd")
        assert server.process.wait(TIMEOUT) == 0


def curl_refused(server):
    """Whether new connections are refused by now."""
    try:
        server.connect().close()
        return False
    except OSError:
        return True


def a_second_sigterm_cancels_what_will_not_end():
    with Server("hello") as server, server.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        assert sock.recv(1)
        server.process.send_signal(signal.SIGTERM)
        while curl_refused(server) is False:
            pass
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(TIMEOUT) == 0


def sigusr1_dumps_operations_and_coroutines_by_name():
    with Server("echo", "--cores", "1") as server, server.connect() as sock:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
        server.process.send_signal(signal.SIGUSR1)
        seen = ""
        while not ("coroutine echo" in seen and "RECV" in seen):
            line = server.process.stderr.readline()
            assert line, seen
            seen += line
        assert server.stop() == 0


def without_descriptors_left_others_are_served_and_the_cpu_stays_idle():
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
    with Server("hello", "--cores", "1", preexec_fn=few) as server:
        socks = [server.connect() for _ in range(120)]
        socks[0].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_exactly(socks[0], 12) == b"HTTP/1.1 200"
        path = f"/proc/{server.process.pid}/stat"
        def cpu():
            with open(path, encoding="ascii") as file:
                return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))
        before, start = cpu(), time.monotonic()
        socks[0].settimeout(1.0)
        while time.monotonic() < start + 1:     # nothing comes: a second of silence
            try:
                socks[0].recv(65536)
            except socket.timeout:
                break
        assert cpu() - before < 20, "it spins"
        for sock in socks[1:]:
            sock.close()
        assert curl(server.url("/")) == b"Hello, World!"
        socks[0].close()
        assert server.stop() == 0


def garbage_on_every_port_harms_nobody():
    chance = random.Random(4)
    with Server("hello") as http, Server("echo") as echo:
        for port in [http.port, http.admin, echo.port, echo.admin] * 20:
            with http.connect(port) as sock:
                try:
                    sock.sendall(chance.randbytes(chance.randrange(1, 5000)))
                    if chance.random() < 0.5:
                        sock.shutdown(socket.SHUT_WR)
                        read_all(sock)
                except OSError:
                    pass
        assert curl(http.url("/")) == b"Hello, World!"
        assert curl(http.url("/health", True)) == b"ok\n"
        assert curl(echo.url("/health", True)) == b"ok\n"
        assert http.stop() == 0 and echo.stop() == 0


def doctor_reports_in_text_and_json():
    done = run("doctor")
    assert done.returncode == 0 and "weir runs here" in done.stdout, done
    report = json.loads(run("doctor", "--json").stdout)
    assert report["usable"] is True
    if not report["io_uring"]:
        return
    kinds = {item["kind"] for item in report["items"]}
    assert kinds == {"host", "limit", "setup", "feature", "opcode"}, kinds


def deny_io_uring():
    if not deny():
        os._exit(99)


def refusal():
    """What weir names behind deny_io_uring(): the sysctl comes before the filter."""
    try:
        with open("/proc/sys/kernel/io_uring_disabled", encoding="ascii") as file:
            disabled = file.read().strip()
    except FileNotFoundError:   # before 6.6
        disabled = "0"
    return "a seccomp filter" if disabled == "0" else f"kernel.io_uring_disabled is {disabled}"


def a_host_that_refuses_io_uring_is_named_with_its_remedy_and_exit_code_78():
    done = run("doctor", "--kernel", "uring", preexec_fn=deny_io_uring)
    assert done.returncode == 78, done
    assert refusal() in done.stdout and "remedy: " in done.stdout, done.stdout
    for args in (["echo", "--listen", "tcp://127.0.0.1:0"], ["tour"]):
        done = run(*args, "--kernel", "uring", preexec_fn=deny_io_uring)
        assert done.returncode == 78 and refusal() in done.stderr, done
        assert "remedy: " in done.stderr and done.stderr.count("\n") == 1, done


def has_io_uring():
    return json.loads(run("doctor", "--json").stdout)["io_uring"]


def the_kernel_that_serves_is_told_with_its_reason():
    kernels = {"poll": ("poll", "asked for")}
    if has_io_uring():
        kernels.update(uring=("uring", "asked for"), auto=("uring", "io_uring serves"))
    for asked, (kernel, reason) in kernels.items():
        done = run("doctor", "--kernel", asked)
        assert f"weir runs here on the {kernel} kernel: {reason}." in done.stdout, done
        with Server("echo", "--kernel", asked) as server:
            metrics = curl(server.url("/metrics", admin=True)).decode()
            assert f'weir_kernel_info{{kernel="{kernel}",reason="{reason}"}} 1' in metrics, metrics
            assert server.stop() == 0
            line = f"weir echo: runs on the {kernel} kernel: {reason}\n"
            assert server.process.stderr.read() == ("" if kernel == "uring" else line)


class Skipped(Exception):
    """The host lacks what a case needs."""


def switches(pid):
    """How often the threads of a process went to sleep."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file
                         if line.startswith("voluntary_ctxt_switches"))
    return total


def an_idle_server_sleeps_soon_and_does_not_wake():
    if os.environ.get("WEIR_TEST_CONFIG") == "tsan":
        raise Skipped("ThreadSanitizer has a thread of its own that wakes up again and again")
    for kernel in ["poll"] + (["uring"] if has_io_uring() else []):
        with Server("echo", "--kernel", kernel) as server, server.connect() as sock:
            sock.sendall(b"hello")
            assert read_exactly(sock, 5) == b"hello"
            deadline = time.monotonic() + TIMEOUT
            before, now = 0, switches(server.process.pid)
            while before != now:    # for a second: nothing tells of what does not happen
                assert time.monotonic() < deadline, "it wakes up again and again"
                time.sleep(1)
                before, now = now, switches(server.process.pid)


def without_io_uring_the_poll_kernel_serves_and_says_why():
    done = run("doctor", "--kernel", "auto", preexec_fn=deny_io_uring)
    assert done.returncode == 0, done
    assert f"runs here on the poll kernel: {refusal()}" in done.stdout, done
    report = json.loads(run("doctor", "--json", "--kernel", "auto",
                            preexec_fn=deny_io_uring).stdout)
    assert report["usable"] and report["kernel"] == "poll" and not report["io_uring"], report
    with Server("echo", "--kernel", "auto", preexec_fn=deny_io_uring) as server:
        with server.connect() as sock:
            sock.sendall(b"hello")
            assert read_exactly(sock, 5) == b"hello"
        metrics = curl(server.url("/metrics", admin=True))
        label = f'weir_kernel_info{{kernel="poll",reason="{refusal()}'
        assert label in metrics.decode(), metrics
        assert server.stop() == 0
        said = server.process.stderr.read()
        assert f"runs on the poll kernel: {refusal()}" in said, said


def the_tour_measures_and_checks_what_it_claims():
    done = run("tour", "--seconds", "3")
    assert done.returncode == 0, done
    for word in ("requests/s", "CPU us per request", "p99.9", "system calls", "slots",
                 "the bound held, the producer was slowed, no byte was lost"):
        assert word in done.stdout, word


def the_overload_is_shown_with_and_without_admission_and_plotted():
    with tempfile.TemporaryDirectory() as directory:
        plot = os.path.join(directory, "plot.svg")
        done = run("overload", "--seconds", "2", "--plot", plot)
        assert done.returncode == 0, done
        for word in ("without admission", "with admission", "spike 2x", "shed: full", "1.4x"):
            assert word in done.stdout, word
        svg = xml.etree.ElementTree.parse(plot).getroot()
        curves = [e for e in svg.iter() if e.tag.endswith("path")]
        points = [curve.get("d").count("L") for curve in curves]
        # What was asked for is there all the time; answers are as many as the machine gave.
        assert len(points) == 10 and sum(n > 10 for n in points) >= 2, points
    done = run("overload", "--seconds", "1", "--plot", "/nonexistent/plot.svg")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done


def start_example(program, port):
    process = subprocess.Popen([program, f"tcp://127.0.0.1:{port}"])
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            return process, socket.create_connection(("127.0.0.1", port), TIMEOUT)
        except ConnectionRefusedError:
            time.sleep(0.01)    # it has no port file: trying is all that is left
    process.kill()
    raise AssertionError("the example does not listen")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def the_examples_do_what_they_say():
    done = subprocess.run([ASK_CORE], text=True, stdout=subprocess.PIPE, timeout=TIMEOUT,
                          check=True)
    assert f"total: {sum(range(1000000))}" in done.stdout, done.stdout
    for program in (ECHO, HTTP_HELLO):
        port = free_port()
        process, sock = start_example(program, port)
        try:
            if program == ECHO:
                sock.sendall(b"hello")
                assert read_exactly(sock, 5) == b"hello"
            else:
                assert curl(f"http://127.0.0.1:{port}/") == b"Hello, World!\n"
                assert curl("-d", "back", f"http://127.0.0.1:{port}/") == b"back"
            sock.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0, program
        finally:
            process.kill()
            process.wait()


def read_answer(sock):
    with sock, sock.makefile("rb") as stream:
        head = stream.readline()
        for line in iter(stream.readline, b"\r\n"):
            head += line
    return int(head.split()[1]), b"\r\nRetry-After: " in head


def the_example_of_admission_refuses_what_it_cannot_do_and_is_well():
    port = free_port()
    process, first = start_example(HTTP_ADMIT, port)
    try:
        crowd = [first] + [socket.create_connection(("127.0.0.1", port), TIMEOUT)
                           for _ in range(400)]
        for i, sock in enumerate(crowd):
            path = b"/batch" if i % 2 else b"/"
            sock.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert curl(f"http://127.0.0.1:{port}/health") == b"well\n"
        answers = [read_answer(sock) for sock in crowd]
        assert set(answers) == {(200, False), (503, True)}, set(answers)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()


def main():
    cases = [case for case in list(globals().values())
             if inspect.isfunction(case) and getattr(case, "__module__", "") == "__main__"
             and case.__name__.count("_") >= 4]
    failed = 0
    print(f"[==========] Running {len(cases)} test(s).")
    for case in cases:
        print(f"[ RUN      ] {case.__name__}", flush=True)
        try:
            case()
            print(f"[       OK ] {case.__name__}", flush=True)
        except Skipped as why:
            print(f"{why}\n[  SKIPPED ] {case.__name__}", flush=True)
        except Exception:   # whatever it was, the other cases run
            traceback.print_exc(file=sys.stdout)
            failed += 1
            print(f"[  FAILED  ] {case.__name__}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
