# frozen_string_literal: true

RSpec.describe "Lifetime of a worker" do
  def ask(worker, name = "pid", params = {}) = worker.call(name, params).value(20)

  describe "limits" do
    it "replace it after a number of calls" do
      worker = worker(limits: { max_requests: 3 })
      pids = Array.new(7) { ask(worker) }
      expect(pids.chunk_while { |a, b| a == b }.map(&:size)).to eq([3, 3, 1])
      expect(eventually { Leaks.children == [pids.last] }).to be(true)
    end

    it "replace it after its maximum lifetime, once its calls have ended" do
      worker = worker(limits: { max_lifetime: 0.5 })
      first = ask(worker)
      long = worker.call("slow", { "seconds" => 1 })
      sleep 0.6
      expect(ask(worker)).not_to eq(first)
      expect(long.value(5)).to eq(first)
      expect(eventually { gone?(first) }).to be(true)
    end

    it "replace it above a size" do
      worker = worker(limits: { max_memory: 1_000_000 })
      first = ask(worker)
      expect(eventually { gone?(first) }).to be(true)
      expect(ask(worker)).not_to eq(first)
    end

    [{ idle_stop: 0 }, { max_requests: 0 }, { max_lifetime: 0 }, { max_memory: 1 }].each do |limits|
      it "don't replace a new worker before its first call: #{limits}" do
        worker = worker(limits:)
        3.times { Timeout.timeout(5) { ask(worker) } }
        expect(worker.stats[:restarts]).to be <= 2
      end
    end

    it "don't count as crashes" do
      worker = worker(limits: { max_requests: 1 })
      5.times { ask(worker) }
      expect(worker.stats).to include(restarts: 4, crashes: 0)
    end

    it "don't affect calls in flight" do
      worker = worker(limits: { max_requests: 10 })
      pids = Array.new(8) { Thread.new { Array.new(25) { ask(worker) } } }.flat_map(&:value)
      expect(pids.size).to eq(200)
      expect(pids.tally.values.max).to be <= 10
    end
  end

  describe "a crash loop" do
    it "delays starts, notes that in the error, and ends with a successful call" do
      Dir.mktmpdir do |folder|
        worker = worker("dies_until", File.join(folder, "works"))
        messages = Array.new(4) { error_of { ask(worker) }.message.sub(/\d+/, "N") }
        died = "the worker (pid N) exited with status 3"
        expect(messages).to eq([died, died, "#{died} (crash 3 in a row, the next start waits 0.5 s)",
                                "#{died} (crash 4 in a row, the next start waits 1 s)"])
        FileUtils.touch(File.join(folder, "works"))
        started = Leaks.now
        expect(ask(worker)).to be_a(Integer)
        expect(Leaks.now - started).to be >= 1
        expect(worker.stats).to include(crashes: 4)
      end
    end

    it "does not delay a shutdown" do
      stub_const("#{bridge}::Backoff::DELAYS_S", [30])
      worker = worker("no_start")
      3.times { error_of { ask(worker) } }
      waiting = Thread.new { error_of { ask(worker) } }
      sleep 0.1
      worker.stop
      expect(waiting.value).to be_a(Transfer::Cancelled)
    end

    it "counts crashes within a minute of each other, without a response between them" do
      backoff = bridge::Backoff.new
      delays = [0, 59, 118, 177, 300, 301].map { |now| backoff.crashed(now:).delay(now:) }
      expect(delays).to eq([0, 0, 0.5, 1, 0, 0])
      expect { backoff.reset }.to change { backoff.crashed(now: 302).delay(now: 302) }.from(0.5).to(0)
      expect(Array.new(8) { backoff.crashed(now: 303).delay(now: 303) }).to eq([0, 0.5, 1, 2, 4, 8, 16, 30])
      expect(backoff.delay(now: 364)).to eq(0)
    end
  end

  describe "an exit for lack of memory" do
    it "is OutOfMemory after a message of C++" do
      expect { ask(worker, "die_saying", { "words" => "terminate called\n  what():  std::bad_alloc" }) }
        .to raise_error(Transfer::OutOfMemory, /ended by SIGABRT: what\(\):  std::bad_alloc. Fix: use a smaller/)
    end

    it "is OutOfMemory if the kernel counted a kill meanwhile" do
      allow(bridge::WorkerProcess).to receive(:oom_kills).and_return(3, 4)
      expect { ask(worker, "crash", { "signal" => "SIGKILL" }) }
        .to raise_error(Transfer::OutOfMemory, /was ended by SIGKILL: going down. Fix: use a smaller batch_size/)
    end

    it "does not happen if Python can raise the error: the worker continues" do
      limited = ["/bin/sh", "-c", 'ulimit -v 2000000; exec "$0" "$@"', Workers::PYTHON, Sharing::FAKE]
      place = launch.with(command: limited, env: { "PYTHONPATH" => Sharing::PATH })
      worker = bridge::Pool::Worker.new { place }
      first = ask(worker)
      expect { ask(worker, "count_up", { "count" => 10**9 }) }
        .to raise_error(Transfer::OutOfMemory, /\Aout of memory \(Unable to allocate 7.45 GiB .*use a smaller/)
      expect(ask(worker, "count_up", { "count" => 3 }).to_a).to eq([0, 1, 2])
      expect(ask(worker)).to eq(first)
      worker.stop
    end
  end

  it "ends in a signal's trap", script: true do
    output, status = ruby(<<~RUBY)
      launch.("echo")
      trap("TERM") { Transfer.shutdown; puts "trapped"; exit }
      pid = bridge.call("pid")
      puts pid
      Thread.new { loop { bridge.call("pid") rescue break } }
      Process.kill(:TERM, Process.pid)
      sleep
    RUBY
    expect(status).to be_success
    pid, *said = output.lines(chomp: true)
    expect(said).to eq(["trapped"])
    expect(eventually(2) { gone?(pid.to_i) }).to be(true)
  end

  it "ends in a signal's trap while the main thread waits for a response", script: true do
    output, status = ruby(<<~RUBY)
      launch.("echo")
      trap("TERM") { Transfer.shutdown; puts "trapped"; exit }
      puts bridge.call("pid")
      Thread.new { sleep 0.3; Process.kill(:TERM, Process.pid) }
      bridge.call("stall")
    RUBY
    expect(status).to be_success
    pid, *said = output.lines(chomp: true)
    expect(said).to eq(["trapped"])
    expect(eventually(2) { gone?(pid.to_i) }).to be(true)
  end

  describe "environment" do
    # Those of these variables that the worker inherits.
    def inherited(variables, names = [])
      before = ENV.to_h
      ENV.update(variables)
      Transfer.config.environment = names
      launched = launch.with(env: bridge::LaunchOptions.configured.env)
      worker = bridge::Pool::Worker.new { launched }
      ask(worker, "environment").slice(*variables.keys)
    ensure
      worker&.stop
      Transfer.config.environment = []
      ENV.replace(before)
    end

    secrets = %w[
      TRANSFER_API_KEY TRANSFER_SECRET HF_TOKEN HUGGING_FACE_HUB_TOKEN HF_OIDC_ID_TOKEN PYTHON_KEYRING_PW TORCH_TOKEN
      CUDA_REGISTRY_PASSWORD NVIDIA_API_KEY NCCL_SECRET XDG_SESSION_COOKIE LC_SECRET OMP_KEY MALLOC_KEY SECRET_KEY_BASE
      DATABASE_URL AWS_SECRET_ACCESS_KEY PATHOLOGY LD_PRELOAD PYTHONSTARTUP PIP_INDEX_URL
    ].to_h { |name| [name, "secret"] }

    it "has no secrets, not even those of its libraries" do
      harmless = { "LC_ALL" => "C", "OMP_NUM_THREADS" => "2", "HF_HOME" => "/hf", "TRANSFER_WEIGHTS" => "/w",
                   "PYTHONHASHSEED" => "1", "TZ" => "UTC" }
      expect(inherited({ **secrets, **harmless })).to eq(harmless)
    end

    it "has variables named in the settings, and none with the same prefix" do
      expect(inherited(secrets, %w[HF_TOKEN TRANSFER_API_KEY NOT_SET]))
        .to eq({ "HF_TOKEN" => "secret", "TRANSFER_API_KEY" => "secret" })
    end

    it "has proxies without user name and password, unless they are named" do
      proxies = { "HTTP_PROXY" => "http://user:pass@proxy:3128", "https_proxy" => "http://u:p@ss/w@proxy:3128/",
                  "ALL_PROXY" => "user:pass@proxy:3128", "http_proxy" => "http://proxy:3128",
                  "HF_ENDPOINT" => "https://user@mirror/hf", "NO_PROXY" => "localhost" }
      expect(inherited(proxies)).to eq(
        { "HTTP_PROXY" => "http://proxy:3128", "https_proxy" => "http://proxy:3128/", "ALL_PROXY" => "proxy:3128",
          "http_proxy" => "http://proxy:3128", "HF_ENDPOINT" => "https://mirror/hf", "NO_PROXY" => "localhost" }
      )
      expect(inherited(proxies, ["HTTP_PROXY"])).to include("HTTP_PROXY" => "http://user:pass@proxy:3128",
                                                            "ALL_PROXY" => "proxy:3128")
    end

    it "has every TRANSFER_ variable that the core reads" do
      core = Dir[File.expand_path("../../python/transfer_core/**/*.py", __dir__)]
      read = core.flat_map { |file| File.read(file).scan(/\bTRANSFER_[A-Z_]*[A-Z]\b/) }.uniq
      # Ruby sends the keys of the last with each call.
      settings = Transfer.config.for_worker.keys + %w[TRANSFER_HOME TRANSFER_OFFLINE TRANSFER_REQUIRE_SIGNATURE
                                                      TRANSFER_ENGINE TRANSFER_STORAGE]
      expect(read - settings - bridge::LaunchOptions::Environment::NAMES).to eq([])
    end
  end
end
