# frozen_string_literal: true

require "json"

# With the real core, which does not import PyTorch for this.
RSpec.describe "transfer worker", :home do
  before { Transfer.config.shared_worker = File.join(@home, "shared") }

  after do
    Transfer.shutdown(shared: true)
    Transfer.config.shared_worker = false
  end

  def workers = Sharing.workers(Transfer.config.shared_worker)

  def worker(...) = transfer("worker", ...)

  def start = Transfer.resumable.then { workers.first }

  it "shows that there is no shared worker, and starts none" do
    expect(worker("status")).to eq(["No shared worker\n", "", 0])
    expect(worker("status", "--json")).to eq(["null\n", "", 0])
    expect(worker("stop")).to eq(["No shared worker\n", "", 0])
    expect(workers).to eq([])
  end

  it "shows the shared worker" do
    pid = start
    out, err, status = worker("status")
    expect([err, status]).to eq(["", 0])
    expect(out).to match(Regexp.new(<<~'TEXT'.gsub("PID", pid.to_s).chomp))
      \Aworker      process PID, \d+\.\d MB
      models      0 of 0 B, at most \d\.\d GB
      requests    0 open, 0 refused
      batches     0
      round trip  \d+\.\d\d ms
      \z
    TEXT
    before = bridge::WorkerProcess.resident_memory(pid)
    seen = JSON.parse(worker("status", "--json").first)
    expect(seen.keys).to contain_exactly("pid", "memory", "serving", "seconds")
    expect(seen["memory"]).to be_between(0.5 * before, 2 * bridge::WorkerProcess.resident_memory(pid))
    expect(workers).to eq([pid])
  end

  it "stops the shared worker" do
    pid = start
    expect(worker("stop")).to eq(["Stopped worker #{pid}\n", "", 0])
    expect(workers).to eq([])
    pid = start
    expect(JSON.parse(worker("stop", "--json").first)).to eq({ "pid" => pid })
  end

  it "kills a worker that hangs" do
    stub_const("#{bridge}::SharedWorker::SNAPSHOT_TIMEOUT_S", 0.3)
    stub_const("#{bridge}::SharedWorker::EXIT_TIMEOUTS_S", { "TERM" => 0.2, "KILL" => 2 })
    pid = start.tap { |started| suspend(started) }
    Transfer.shutdown
    expect(worker("status"))
      .to eq(["", "transfer: the shared worker does not respond. Fix: transfer worker stop\n", 4])
    expect(Transfer::Doctor.bridge_checks.last.to_h)
      .to eq({ name: "bridge: serving", ok: false, detail: "the shared worker does not respond",
               remedy: "transfer worker stop" })
    expect(worker("stop")).to eq(["Stopped worker #{pid}\n", "", 0])
  end

  it "rejects other commands" do
    expect(worker("stpo"))
      .to eq(["", %(transfer: unknown command "stpo", did you mean "stop"? Try: transfer help worker\n), 2])
  end

  describe "doctor --bridge" do
    def serving
      out, = transfer("doctor", "--bridge")
      out[/^(ok|FAIL) *bridge: serving *(.*)$/, 2]
    end

    it "shows which worker predicts" do
      expect(serving).to eq("no shared worker runs; the next call starts one")
      pid = start
      expect(serving).to match(/\Ashared worker #{pid}, [\d.]+ MB, models in memory: 0 \(0 B\), open requests: 0/)
      Transfer.shutdown(shared: true)
      Transfer.config.shared_worker = false
      usual = ENV.fetch("TMPDIR", nil)
      ENV["TMPDIR"] = @home
      expect(serving).to eq("each process has a worker of its own")
    ensure
      ENV["TMPDIR"] = usual
    end
  end
end
