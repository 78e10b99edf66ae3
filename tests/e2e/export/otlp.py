"""A receiver behind a real collector: what the collector took of an export, it hands on here."""

import gzip
import http.client
import http.server
import socket
import subprocess
import threading
import time

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse


def records(request):
    """The log records of a request, each with where it is from, in a form that compares."""
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            where = resource.resource.SerializeToString(deterministic=True) + scope.scope.SerializeToString(deterministic=True)
            for record in scope.log_records:
                yield where + record.SerializeToString(deterministic=True)


def parsed(line):
    """A line as the protocol's own definition reads it; anything that it does not define is an error."""
    return json_format.Parse(line, ExportLogsServiceRequest(), ignore_unknown_fields=False)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes what a collector hands on."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportLogsServiceRequest.FromString(body)
        self.server.taken.extend(records(request))
        answer = ExportLogsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Collector:
    """Rotel, with a receiver behind it."""

    def __init__(self, program, scratch):
        self.receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.receiver.taken = []
        self.thread = threading.Thread(target=self.receiver.serve_forever, daemon=True)
        self.log = open(f"{scratch}/collector.log", "wb")
        self.program, self.scratch = program, scratch

    def __enter__(self):
        self.thread.start()
        self.port = free_port()
        self.process = subprocess.Popen([
            self.program, "start", "--pid-file", f"{self.scratch}/collector.pid",
            "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--otlp-http-endpoint", f"127.0.0.1:{self.port}",
            "--exporter", "otlp", "--otlp-exporter-protocol", "http", "--batch-timeout", "50ms",
            "--otlp-exporter-endpoint", f"http://127.0.0.1:{self.receiver.server_port}",
        ], stdout=self.log, stderr=self.log)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise SystemExit("export: the collector does not listen")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.receiver.shutdown()
        self.receiver.server_close()
        self.log.close()

    def post(self, body):
        """The status and the answer to a request of logs."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("POST", "/v1/logs", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def taken(self, count):
        """What was handed on, as soon as it is so much; or what there is after 20 seconds."""
        for _ in range(400):
            if len(self.receiver.taken) >= count:
                break
            time.sleep(0.05)
        # One too many would come now.
        time.sleep(0.2)
        return self.receiver.taken
