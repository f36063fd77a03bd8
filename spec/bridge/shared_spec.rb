# frozen_string_literal: true

require "logger"

# Every client is a process of its own.
RSpec.describe "A shared worker" do
  include_context "with a shared worker"

  describe "lifetime" do
    it "is one process that outlives its starter and is found again" do
      first = client
      second = client
      pids = [first, second, first].map { |each| each.call("pid") }
      first.finish
      second.kill
      use
      expect(pids.uniq).to eq([pid])
      expect(Sharing.workers(folder)).to eq([pid])
      expect(files.map { |file| [File.extname(file), File.stat(File.join(folder, file)).mode & 0o777] })
        .to contain_exactly([".lock", 0o600], [".sock", 0o600])
      expect(File.stat(folder).mode & 0o777).to eq(0o700)
    end

    it "starts once for twenty concurrent clients" do
      starts = File.join(File.dirname(folder), "starts")
      noting = Class.new(bridge::LaunchOptions) do
        define_method(:spawn) do |*arguments, **words|
          super(*arguments, **words).tap { |pid| File.write(starts, "#{pid}\n", mode: "a") }
        end
      end
      stub_const("#{bridge}::LaunchOptions", noting)
      clients = Array.new(20) { client }
      pids = clients.each { |each| each.ask("pid") }.map(&:answer)
      expect(pids.uniq.size).to eq(1)
      expect(File.readlines(starts).size).to eq(1)
    end

    it "cancels the calls of a killed client, and continues" do
      killed = client
      other = client
      killed.ask("wait_for_cancel")
      sleep 0.1
      other.ask("wait_for_cancel")
      killed.kill
      use
      expect(bridge.call("tell", { "events" => [] })).to eq("told")
      expect(Transfer.stats.dig(:workers, :serve, :processes).map { |worker| worker[:in_flight] }).to eq([0])
    end

    it "is replaced by one after it was killed, and every open call fails" do
      clients = Array.new(5) { client }
      first = clients.map { |each| each.call("pid") }.uniq
      clients.each { |each| each.ask("wait_for_cancel") }
      sleep 0.1
      Process.kill(:KILL, *first)
      expect(clients.map(&:answer)).to all(
        include("error" => "Transfer::WorkerCrashed", "message" => start_with("the worker (pid #{first[0]}) ended"))
      )
      second = clients.each { |each| each.ask("pid") }.map(&:answer).uniq
      expect(second.size).to eq(1)
      expect(second).not_to eq(first)
      expect(eventually { Sharing.workers(folder) == second }).to be(true)
    end

    it "is replaced for clients without an open call as well" do
      backend = use
      first = pid
      Process.kill(:KILL, first)
      expect(eventually { backend.serve.pid.nil? }).to be(true)
      expect(pid).not_to eq(first)
      expect(backend.serve.stats).to include(restarts: 1, crashes: 1)
    end

    it "ends after its idle time without clients, and leaves nothing behind" do
      visitor = client(idle_stop: 0.5)
      worker = visitor.call("pid")
      visitor.finish
      expect(gone?(worker)).to be(false)
      expect(eventually { gone?(worker) }).to be(true)
      expect(files).to eq([])
      use
      expect(pid).not_to eq(worker)
    end

    it "stays while a client is connected; an idle client disconnects" do
      backend = use(idle_stop: 0.6)
      worker = pid
      sleep 0.9
      expect(gone?(worker)).to be(false)
      expect(backend.serve.pid).to be_nil
      expect(eventually { gone?(worker) }).to be(true)
    end

    it "ends at SIGTERM; open calls end with Cancelled, and the next one starts another" do
      other = client
      worker = other.call("pid")
      idle = use.serve
      other.ask("wait_for_cancel")
      expect(pid).to eq(worker)
      sleep 0.1
      Process.kill(:TERM, worker)
      expect(other.answer).to eq({ "error" => "Transfer::Cancelled", "message" => "cancelled" })
      expect(eventually { gone?(worker) }).to be(true)
      expect(files).to eq([])
      expect(other.call("pid")).not_to eq(worker)
      expect(pid).to eq(other.call("pid"))
      expect(idle.stats).to include(restarts: 1, crashes: 0)
    end
  end

  describe "a hanging worker" do
    before { stub_const("#{bridge}::HealthCheck::TIMEOUT_S", 1) }

    def late = error_of { bridge.call("pid", {}, timeout: 0.2) }

    it "is replaced by one after a timeout, and every open call fails" do
      clients = Array.new(4) { client }
      frozen = clients.map { |each| each.call("pid") }.uniq
      use
      expect([pid]).to eq(frozen)
      clients.first.ask("wait_for_cancel")
      sleep 0.1
      suspend(frozen.first)
      expect(late).to be_a(Transfer::TimeoutError)
      fresh = pid
      expect(frozen).not_to include(fresh)
      expect(clients.first.answer).to include("error" => "Transfer::WorkerCrashed")
      expect(clients.map { |each| each.call("pid") }.uniq).to eq([fresh])
      expect(Sharing.workers(folder)).to eq([fresh])
    end

    it "is replaced by one after concurrent timeouts" do
      clients = Array.new(5) { client(timeout: 0.5) }
      frozen = clients.map { |each| each.call("pid") }.uniq
      suspend(frozen.first)
      found = clients.each { |each| each.ask("pid") }.map(&:answer)
      expect(found).to all(include("error" => "Transfer::TimeoutError"))
      fresh = clients.each { |each| each.ask("pid") }.map(&:answer).uniq
      expect(fresh.size).to eq(1)
      expect(Sharing.workers(folder)).to eq(fresh)
    end

    it "is reported in the error of an open call, and logged" do
      use
      frozen = pid
      open = bridge.start("wait_for_cancel", {})
      suspend(frozen)
      Transfer.config.logger = Logger.new(log = StringIO.new)
      late
      expect(pid).not_to eq(frozen)
      why = "it did not respond for 1 s and was killed"
      expect { open.value(5) }.to raise_error(Transfer::WorkerCrashed, /\(pid #{frozen}\) ended \(#{why}\)\z/)
      expect(log.string).to include("the worker (pid #{frozen}) hangs: #{why}")
    ensure
      Transfer.config.logger = nil
    end

    it "continues if it hangs for less than the timeout of the health check" do
      use
      frozen = pid
      suspend(frozen)
      expect(late).to be_a(Transfer::TimeoutError)
      waiting = Thread.new { pid }
      sleep 0.3
      Process.kill(:CONT, frozen)
      expect(waiting.value).to eq(frozen)
    end

    it "is not a worker with a long computation" do
      use
      worker = pid
      call = error_of { bridge.call("ignore_cancel", { "release" => File.join(folder, "release") }, timeout: 0.2) }
      expect(call).to be_a(Transfer::TimeoutError)
      sleep 1.5
      expect(pid).to eq(worker)
      FileUtils.touch(File.join(folder, "release"))
    end
  end

  describe "limits" do
    it "replace it without a failed call" do
      clients = Array.new(3) { client(max_requests: 20) }
      asked = clients.map { |each| Thread.new { Array.new(300) { each.call("pid").tap { sleep 0.005 } } } }
      pids = asked.flat_map(&:value)
      expect(pids).to all(be_an(Integer))
      expect(pids.uniq.size).to be > 2
      expect(eventually { Sharing.workers(folder).size <= 1 }).to be(true)
    end

    it "don't affect calls in flight" do
      backend = use(max_lifetime: 0.3)
      first = pid
      long = backend.call("ignore_cancel", { "release" => File.join(folder, "release") })
      sleep 1
      expect(pid).not_to eq(first)
      expect(gone?(first)).to be(false)
      FileUtils.touch(File.join(folder, "release"))
      expect(long.value(5)).to eq("done")
      expect(eventually { gone?(first) }).to be(true)
    end

    it "include its memory" do
      use(max_memory: 1_000_000)
      first = pid
      expect(eventually { gone?(first) }).to be(true)
    end
  end

  it "is replaced after its files were deleted" do
    use
    first = pid
    FileUtils.rm_rf(folder)
    expect(eventually { gone?(first) }).to be(true)
    FileUtils.mkdir(folder, mode: 0o700)
    expect(pid).not_to eq(first)
  end

  describe "shared memory" do
    def written(backend)
      channel = backend.serve.instance_variable_get(:@channel)
      channel.instance_variable_get(:@memory).files.last.size
    end

    def count_up(backend, count) = backend.call("count_up", { "count" => count }).value(20).to_a

    it "is separate for each client" do
      backends = [use, use]
      asked = backends.each_with_index.map do |backend, i|
        Thread.new { Array.new(5) { |n| count_up(backend, 100_000 + (10 * n) + i).values_at(0, -1) } }
      end
      expect(asked.map(&:value)).to eq([0, 1].map { |i| Array.new(5) { |n| [0, 100_000 + (10 * n) + i - 1] } })
      expect(backends.map { |backend| written(backend) }).to all(be > 800_000)
      doubled = bridge.call("double", { "numbers" => Transfer::Tensor.from([1.0, 2.0] * 100_000) })
      expect(doubled.to_a.last(2)).to eq([2.0, 4.0])
      backends.first.stop
    end
  end

  describe "a start" do
    def python(code, **) = use(command: [Workers::PYTHON, "-c", code], **)

    it "that fails has its reason in the error, and the next call tries again" do
      python("import no_such_module")
      expect { pid }.to raise_error(Transfer::DependencyError, /has no module no_such_module/)
      python("import sys; sys.exit('boom')")
      expect { pid }.to raise_error(Transfer::WorkerCrashed, /\Athe worker \(pid \d+\) exited with status 1: boom\z/)
      use(command: ["/nowhere/python"])
      expect { pid }.to raise_error(Transfer::ConfigurationError, %r{\Acan't start /nowhere/python})
      use
      expect(pid).to be_a(Integer)
    end

    it "whose daemon exits is not an endless loop" do
      python("import os; os.write(2, b'late')")
      expect { pid }.to raise_error(Transfer::WorkerCrashed, /ended: late\z/)
    end

    it "is independent of a program that waits for its own children", script: true do
      code = <<~RUBY
        require "#{Sharing::FILE}"
        trap("CLD", "IGNORE") # then the kernel waits for them
        Sharing.use("#{folder}")
        puts bridge.call("pid")
        Process.waitall
        Transfer.shutdown
        Sharing.use("#{folder}/fails", command: ["/bin/sh", "-c", "echo boom >&2; exit 1"])
        begin
          bridge.call("pid")
        rescue Transfer::WorkerCrashed => error
          puts error.message.sub(/\\d+/, "N")
        end
      RUBY
      output, status = ruby(code)
      expect([output.lines(chomp: true).last(2), status.success?])
        .to eq([[Sharing.workers(folder).first.to_s, "the worker (pid N) ended: boom"], true])
    end

    it "that takes long ends with the timeout, and does not delay a shutdown" do
      python("import time; time.sleep(2)", startup_timeout: 0.3)
      expect { pid }.to raise_error(Transfer::TimeoutError, /\Athe worker did not respond within 0.3 s/)
      slept = File.join(folder, "slept")
      python("import time; time.sleep(20); open(#{slept.inspect}, 'w')")
      waiting = Thread.new { error_of { pid } }
      sleep 0.2
      Transfer.shutdown
      expect(waiting.value).to be_a(Transfer::Cancelled)
      expect(File.exist?(slept)).to be(false)
    end

    it "with a suspended worker is a timeout, after which another one is started" do
      stub_const("#{bridge}::HealthCheck::TIMEOUT_S", 0.5)
      frozen = client.call("pid").tap { |worker| suspend(worker) }
      use(startup_timeout: 0.5)
      expect { pid }.to raise_error(Transfer::TimeoutError)
      expect(eventually { gone?(frozen) }).to be(true)
      use
      expect([pid]).to eq(Sharing.workers(folder))
    end

    it "with a timeout below that of the health check does not kill the worker" do
      frozen = client.call("pid").tap { |worker| suspend(worker) }
      use(startup_timeout: 0.3)
      expect { pid }.to raise_error(Transfer::TimeoutError)
      Process.kill(:CONT, frozen)
      use
      expect(pid).to eq(frozen)
    end
  end

  describe "forked processes" do
    it "have a connection of their own to the same worker" do
      first = use.serve
      worker = pid
      open = first.call("wait_for_cancel", {})
      child = fork do
        same = error_of { open.value(1) }.message.include?("belongs to the parent")
        exit!(same && Sharing.use(folder) && bridge.call("pid") == worker ? 0 : 1)
      end
      expect(Process.wait2(child).last).to be_success
      open.cancel
      expect { open.value(5) }.to raise_error(Transfer::Cancelled)
      expect(first.stats).to include(restarts: 0, crashes: 0)
    end
  end
end
