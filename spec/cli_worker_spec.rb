# frozen_string_literal: true

require "json"
require "tmpdir"

# With the real core, which does not import PyTorch for this.
RSpec.describe Transfer::CLI do
  around do |example|
    Dir.mktmpdir("transfer-spec") do |home|
      @home = home
      settings = { home:, shared_worker: File.join(home, "shared") }
      before = settings.to_h { |name, _| [name, Transfer.config.public_send(name)] }
      use(settings)
      example.run
    ensure
      Transfer.shutdown(shared: true)
      use(before)
    end
  end

  def use(settings) = settings.each { |name, value| Transfer.config.public_send("#{name}=", value) }

  def workers = Sharing.workers(Transfer.config.shared_worker)

  def worker(...) = transfer("worker", ...)

  def start = Transfer.resumable.then { workers.first }

  it "says that there is no shared worker, and starts none" do
    expect(worker).to eq(["No worker is shared.\n", "", 0])
    expect(worker("--json")).to eq(["null\n", "", 0])
    expect(worker("stop")).to eq(["No worker is shared.\n", "", 0])
    expect(workers).to eq([])
  end

  it "shows the one that there is" do
    pid = start
    out, err, status = worker
    expect([err, status]).to eq(["", 0])
    expect(out).to match(Regexp.new(<<~'TEXT'.gsub("PID", pid.to_s).chomp))
      \Aworker         process PID, \d+\.\d MB
      models         0 of 0 B, at most \d\.\d GB
      requests       0 in hand, 0 refused
      passes         0
      an empty call  \d+\.\d\d ms
      \z
    TEXT
    before = bridge::WorkerProcess.resident_memory(pid)
    seen = JSON.parse(worker("--json").first)
    expect(seen.keys).to contain_exactly("pid", "memory", "serving", "seconds")
    expect(seen["memory"]).to be_between(0.5 * before, 2 * bridge::WorkerProcess.resident_memory(pid))
    expect(workers).to eq([pid])
  end

  it "ends it" do
    pid = start
    expect(worker("stop")).to eq(["Worker #{pid} has ended.\n", "", 0])
    expect(workers).to eq([])
    pid = start
    expect(JSON.parse(worker("stop", "--json").first)).to eq({ "pid" => pid })
  end

  it "says how to end one that hangs, and ends it by force" do
    stub_const("#{bridge}::Shared::LOOK_S", 0.3)
    stub_const("#{bridge}::Shared::PATIENCE", { "TERM" => 0.2, "KILL" => 2 })
    pid = start.tap { |started| suspend(started) }
    Transfer.shutdown
    expect(worker)
      .to eq(["", "transfer: the shared worker does not answer; transfer worker stop ends it\n", 1])
    expect(Transfer::Doctor.bridge_checks.last.to_h)
      .to eq({ name: "bridge: serving", ok: false, detail: "the shared worker does not answer",
               remedy: "transfer worker stop" })
    expect(worker("stop")).to eq(["Worker #{pid} has ended.\n", "", 0])
  end

  it "knows no other word" do
    out, err, status = worker("stpo")
    expect([out, err, status]).to eq(["", <<~TEXT, 2])
      transfer: unknown action "stpo", did you mean "stop"? (one of: show, stop); transfer help worker explains it
    TEXT
  end

  describe "doctor --bridge" do
    def serving
      out, = transfer("doctor", "--bridge")
      out[/^(ok|FAULT) *bridge: serving *(.*)$/, 2]
    end

    it "says who predicts" do
      expect(serving).to eq("no shared worker runs; the next call starts one")
      pid = start
      expect(serving).to match(/\Ashared worker #{pid}, [\d.]+ MB, models in memory: 0 \(0 B\), requests in hand: 0/)
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
