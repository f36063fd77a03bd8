# frozen_string_literal: true

require "logger"

RSpec.describe "Transfer::Bridge::Pool::Worker" do
  def ask(worker, name, params = {}, timeout: 20, **) = worker.call(name, params, **).value(timeout)

  it "sends and receives values" do
    sent = { "text" => "naïve 🛑", "bytes" => "\xFF\x00".b, "numbers" => [1, 2.5, nil, true], "map" => { "a" => {} } }
    expect(ask(worker, "echo", sent)).to eq(sent)
  end

  it "sends more than a socket buffer holds" do
    sent = { "bytes" => Random.new(1).bytes(20_000_000) }
    expect(ask(worker, "echo", sent)).to eq(sent)
  end

  it "starts no process before the first call, and one for all of them" do
    worker = worker()
    expect([Leaks.children, worker.pid]).to eq([[], nil])
    pids = Array.new(100) { Thread.new { ask(worker, "pid") } }.map(&:value)
    expect(pids.uniq).to eq([worker.pid])
    expect(Leaks.children).to eq([worker.pid])
  end

  it "shares one slow start between all callers" do
    Dir.mktmpdir do |folder|
      starts = File.join(folder, "starts")
      worker = worker("slow_start", 0.5, starts)
      pids = Array.new(20) { Thread.new { ask(worker, "pid") } }.map(&:value)
      expect(File.readlines(starts, chomp: true)).to eq(pids.uniq.map(&:to_s))
    end
  end

  it "returns results in the order in which they are ready" do
    worker = worker()
    slow = worker.call("slow", { "seconds" => 0.5 })
    quick = worker.call("pid", {})
    expect(quick.value(5)).to be_a(Integer)
    expect(slow.done?).to be(false)
    expect(slow.value(5)).to be_a(Integer)
  end

  it "returns a response after a trap has raised while it was read" do
    worker = worker()
    ask(worker, "pid")
    answers = [-> { raise Interrupt }]
    allow(bridge::Framing).to(receive(:decode).and_wrap_original do |decode, frame|
      answers.shift&.call || decode.call(frame)
    end)
    call = worker.call("pid", {}, awaited: true)
    expect { call.value(5) }.to raise_error(Interrupt)
    expect(call.value(5)).to eq(worker.pid)
  end

  it "cancels a call whose caller is interrupted while it is sent" do
    worker = worker()
    ask(worker, "pid")
    connection = worker.instance_variable_get(:@channel).instance_variable_get(:@connection)
    ends = [-> { raise Interrupt }]
    allow(connection).to(receive(:write).and_wrap_original { |write, it| write.call(it).tap { ends.shift&.call } })
    expect { worker.call("train", {}) }.to raise_error(Interrupt)
    expect(eventually { worker.stats[:processes].first[:in_flight].zero? }).to be(true)
  end

  it "counts no negative number of calls in flight after an interrupted start" do
    Dir.mktmpdir do |folder|
      worker = worker("slow_start", 0.3, File.join(folder, "starts"))
      expect { Timeout.timeout(0.1) { ask(worker, "pid") } }.to raise_error(Timeout::Error)
      in_flight = Array.new(50) { sleep(0.01) && worker.stats[:processes].first[:in_flight] }
      expect(in_flight.uniq).to eq([0])
    end
  end

  it "delivers all events of a call before its result" do
    call = worker.call("events", { "count" => 1000 })
    seen = []
    call.each_event { |event| seen << event["number"] }
    expect([seen, call.value(0)]).to eq([(0...1000).to_a, 1000])
  end

  it "is not disturbed by a library that prints" do
    expect(ask(worker, "print_a_lot", { "lines" => 20_000 })).to eq("printed")
  end

  it "logs the output of a worker" do
    log = StringIO.new
    expect(ask(worker(logger: Logger.new(log)), "print_a_lot", { "lines" => 1 })).to eq("printed")
    expect(eventually { log.string.include?("line 0 of standard error, naïve") }).to be(true)
  end

  describe "a start that fails" do
    it "refuses another protocol, with both versions and the fix" do
      expect { ask(worker("wrong_version"), "pid") }.to raise_error(
        Transfer::VersionMismatch,
        "transfer-rb #{Transfer::VERSION} uses protocol 1, transfer-core 9.9.9 uses 2. Fix: transfer setup"
      )
    end

    it "ends with the timeout, and ends the process" do
      expect { ask(worker("silent", startup_timeout: 0.3), "pid") }
        .to raise_error(Transfer::TimeoutError, /\Athe worker did not respond within 0.3 s/)
      expect(Leaks.children).to eq([])
    end

    it "names a missing package and the command that installs it" do
      expect { ask(worker("no_start", "msgpack"), "pid") }.to raise_error(
        Transfer::DependencyError,
        "#{Workers::PYTHON} has no module msgpack. Fix: #{Workers::PYTHON} -m pip install transfer-core"
      )
    end

    it "reports the last output" do
      expect { ask(worker("no_start"), "pid") }.to raise_error(Transfer::WorkerCrashed) do |error|
        expect(error.message).to eq("the worker (pid #{error.pid}) exited with status 1: boom")
        expect(error.stderr).to eq("Traceback (most recent call last):\nboom\n")
      end
    end

    it "names a missing program" do
      nowhere = bridge::LaunchOptions.new(command: ["/nowhere/python"])
      expect { bridge::Pool::Worker.new { nowhere }.call("pid", {}) }.to raise_error(
        Transfer::ConfigurationError, %r{\Acan't start /nowhere/python: No such file or directory}
      )
    end

    it "reports an unexpected error immediately, with its cause, and can be stopped" do
      { launch.with(env: { "A" => 5 }) => "TypeError: no implicit conversion of Integer into String",
        launch(limits: { max_lifetime: "1h" }) => "NoMethodError: undefined method `-' for an instance of String" }
        .each do |launched, message|
        worker = bridge::Pool::Worker.new { launched }
        expect { Timeout.timeout(5) { worker.call("pid", {}) } }
          .to raise_error(Transfer::Error, "the worker's supervisor failed: #{message}") { |error|
            expect(error.cause.backtrace.first).to include("/transfer/bridge/")
          }
        worker.stop
      end
    end

    it "fails every waiting caller, and tries again for the next" do
      worker = worker("no_start")
      errors = Array.new(5) { Thread.new { error_of { ask(worker, "pid") } } }.map(&:value)
      expect(errors.map(&:class).uniq).to eq([Transfer::WorkerCrashed])
      pid = errors.last.pid
      expect { ask(worker, "pid") }.to raise_error(Transfer::WorkerCrashed) { |error| expect(error.pid).not_to eq(pid) }
    end
  end

  describe "a worker that crashes" do
    it "fails every waiting call with its exit, and is replaced" do
      worker = worker()
      first = ask(worker, "pid")
      waiting = Array.new(3) { worker.call("stall", {}) }
      expect { ask(worker, "crash", { "signal" => "SIGKILL" }) }.to raise_error(Transfer::WorkerCrashed) do |error|
        expect([error.pid, error.signal, error.exit_status]).to eq([first, "SIGKILL", nil])
        expect(error.message).to eq("the worker (pid #{first}) was ended by SIGKILL: going down")
      end
      waiting.each { |call| expect { call.value(5) }.to raise_error(Transfer::WorkerCrashed, /SIGKILL/) }
      expect(ask(worker, "pid")).not_to eq(first)
    end

    it "has its exit status in the error" do
      expect { ask(worker, "leave", { "status" => 7 }) }
        .to raise_error(Transfer::WorkerCrashed, /\Athe worker \(pid \d+\) exited with status 7\z/)
    end

    it "is noticed even if a grandchild holds its socket and its standard error" do
      expect { ask(worker("orphaned_socket"), "crash") }
        .to raise_error(Transfer::WorkerCrashed, /was ended by SIGSEGV\z/) # and not a TimeoutError
    end

    it "includes a worker that hangs, after a timeout" do
      stub_const("#{bridge}::HealthCheck::TIMEOUT_S", 0.3)
      worker = worker()
      open = worker.call("stall", {})
      first = ask(worker, "pid").tap { |pid| suspend(pid) }
      expect { worker.call("pid", {}).value(0.2) }.to raise_error(Transfer::TimeoutError)
      expect(ask(worker, "pid")).not_to eq(first)
      hung = /SIGKILL \(it did not respond for 0.3 s and was killed\)\z/
      expect { open.value(5) }.to raise_error(Transfer::WorkerCrashed, hung)
    end

    it "includes a worker that hangs in its last call" do
      stub_const("#{bridge}::HealthCheck::TIMEOUT_S", 0.3)
      worker = worker(limits: { max_requests: 2 })
      first = ask(worker, "pid").tap { |pid| suspend(pid) }
      expect { worker.call("pid", {}).value(0.2) }.to raise_error(Transfer::TimeoutError)
      expect(eventually { gone?(first) }).to be(true)
    end

    it "may crash in the middle of a frame" do
      expect { ask(worker, "half_a_frame") }.to raise_error(Transfer::WorkerCrashed, /exited with status 0\z/)
    end

    it "has sent invalid bytes: a protocol error, and the process is ended" do
      worker = worker()
      ask(worker, "pid")
      expect { ask(worker, "garbage") }
        .to raise_error(Transfer::ProtocolError, "frame of 1195725856 bytes, at most 67108864 are allowed")
      expect(eventually { Leaks.children.empty? }).to be(true)
    end
  end

  describe "errors of Python" do
    def failure(**error) = ask(worker, "fail", error.transform_keys(&:to_s))

    it "become the class of the same name" do
      expect { failure(type: "DataError", message: "a.jpg is empty", details: { "path" => "a.jpg" }) }
        .to raise_error(Transfer::DataError, "a.jpg is empty") { |error| expect(error.path).to eq("a.jpg") }
    end

    %w[ConfigurationError WeightsNotFound ModelFileError DependencyError ProtocolError Cancelled
       OutOfMemory].each do |name|
      it "include #{name}" do
        expect { failure(type: name, message: "said so") }.to raise_error(Transfer.const_get(name), "said so")
      end
    end

    it "become an ArgumentError for an argument of a wrong type" do
      bad_call = { type: "RemoteError", python_class: "transfer_core.worker.arguments.BadCall" }
      expect { failure(**bad_call, message: "save: backbone: Expected `bool`, got `null`") }
        .to raise_error(ArgumentError, "backbone: Expected `bool`, got `null`")
      ["save: missing path (it takes: path)", 'save: unknown "colour" (it takes: path)', "no such method: save"]
        .each { |message| expect { failure(**bad_call, message:) }.to raise_error(Transfer::RemoteError) }
    end

    let(:unforeseen) do
      { type: "RemoteError", message: "division by zero", python_class: "ZeroDivisionError",
        python_backtrace: ["a.py:3:in 'outer'", "b.py:7:in 'inner'"] }
    end

    it "of other classes keep class and frames, below the line of Ruby" do
      line = __LINE__ + 1
      expect { failure(**unforeseen) }
        .to raise_error(Transfer::RemoteError, "ZeroDivisionError: division by zero") do |error|
          expect(error.backtrace.grep(/#{__FILE__}:#{line}:/)).not_to be_empty
          expect(error.backtrace.last(2)).to eq(["b.py:7:in 'inner'", "a.py:3:in 'outer'"])
          expect([error.python_class, error.python_backtrace.size]).to eq(["ZeroDivisionError", 2])
        end
    end

    it "never name a class outside the gem" do
      expect { failure(type: "SystemExit", message: "x") }.to raise_error(Transfer::RemoteError, "x")
    end
  end

  describe "limits" do
    it "cancel a call after its timeout, and ignore the late response" do
      worker = worker()
      call = worker.call("train", {}) # answers when it is cancelled
      expect { call.value(0.2) }
        .to raise_error(Transfer::TimeoutError, "train took longer than 0.2 s and was cancelled")
      expect(call.wait(5)).to be(true)
      expect(ask(worker, "echo", { "still" => "fine" })).to eq({ "still" => "fine" })
    end

    it "include cancelling" do
      call = worker.call("train", {})
      call.cancel
      expect { call.value(5) }.to raise_error(Transfer::Cancelled, "cancelled")
      expect { call.cancel }.not_to raise_error
    end

    it "stop an idle worker, and start another with the next call" do
      worker = worker(idle_stop: 0.2)
      first = ask(worker, "slow", { "seconds" => 0.5 }) # busy is not idle
      expect(eventually { Leaks.children.empty? }).to be(true)
      expect(ask(worker, "pid")).not_to eq(first)
    end

    it "kill a process that exits neither at the end of its socket nor at TERM" do
      worker = worker("stubborn")
      pid = ask(worker, "pid")
      stub_const("#{bridge}::WorkerProcess::Local::EXIT_TIMEOUTS_S", { nil => 0.1, "TERM" => 0.1, "KILL" => 2 })
      worker.stop
      expect(gone?(pid)).to be(true)
    end
  end

  it "refuses unknown requests of the worker" do
    error, = ask(worker, "question", { "method" => "dance", "params" => {} })
    expect(error).to include("type" => "ProtocolError", "message" => 'unknown method "dance"')
    error, = ask(worker, "question", { "method" => "next_rows", "params" => { "stream" => "s99", "max" => 1 } })
    expect(error).to include("type" => "ProtocolError", "message" => 'unknown stream "s99"')
  end

  it "leaves nothing behind in 50 starts and stops" do
    start_and_stop = -> { worker.tap { |started| ask(started, "pid") }.stop }
    start_and_stop.call
    before = Leaks.state
    50.times { start_and_stop.call }
    expect(Leaks.left_since(before)).to eq({})
  end
end
