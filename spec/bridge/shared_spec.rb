# frozen_string_literal: true

require "socket"

# Every client is a process of its own.
RSpec.describe "A worker that processes share" do
  attr_reader :folder

  around do |example|
    Dir.mktmpdir("transfer-spec") do |root|
      @folder = File.join(root, "shared")
      example.run
    ensure
      Transfer.shutdown
      @clients&.each(&:kill)
      Sharing.workers(@folder).each { |pid| Process.kill(:KILL, pid) }
      eventually { Sharing.workers(@folder).empty? }
    end
  end

  # A forked process that does what it is sent: a method and its parameters, answered by the result or the error.
  class Client
    attr_reader :pid

    def initialize(folder, **)
      @here, there = UNIXSocket.pair
      @pid = fork do
        @here.close
        Sharing.use(folder, **)
        serve(there)
      end
      there.close
    end

    def ask(name, params = {})
      @here.puts(JSON.generate([name, params]))
      self
    end

    # @return [Object] what the calls that were asked for came to
    def answer
      line = @here.wait_readable(20) && @here.gets or raise "no answer of #{pid}"
      JSON.parse(line)
    end

    def call(...) = ask(...).answer

    def kill
      Process.kill(:KILL, pid)
      Process.wait(pid)
    rescue Errno::ECHILD, Errno::ESRCH
      nil
    ensure
      @here.close
    end

    # To its regular end.
    def finish
      @here.puts("null")
      Process.wait(pid)
    end

    private

    def serve(there)
      while (asked = JSON.parse(there.gets))
        there.puts(JSON.generate(outcome(*asked)))
      end
      Transfer.shutdown
      exit!(0)
    end

    def outcome(name, params)
      Sharing.bridge.call(name, params)
    rescue Transfer::Error => error
      { "error" => error.class.name, "message" => error.message }
    end
  end

  def client(**) = Client.new(folder, **).tap { |client| (@clients ||= []) << client }

  def files = Dir.children(folder)

  def use(**) = Sharing.use(folder, **)

  def pid = bridge.call("pid")

  describe "its life" do
    it "is one, outlives whoever started it, and is found again" do
      first, second = client, client
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

    it "is started once when twenty want it at once" do
      starts = File.join(File.dirname(folder), "starts")
      noting = Module.new { define_method(:spawn) { |*args, **opts| super(*args, **opts).tap { |pid| File.write(starts, "#{pid}\n", mode: "a") } } }
      stub_const("#{bridge}::Launch", Class.new(bridge::Launch) { prepend noting })
      clients = Array.new(20) { client }
      pids = clients.each { |each| each.ask("pid") }.map(&:answer)
      expect(pids.uniq.size).to eq(1)
      expect(File.readlines(starts).size).to eq(1)
    end

    it "goes on when a client is killed in the midst of a call, and computes no more for it" do
      killed, other = client, client
      killed.ask("wait_for_cancel")
      sleep 0.1
      other.ask("wait_for_cancel")
      killed.kill
      use
      expect(bridge.call("tell", { "events" => [] })).to eq("told")
      expect(Transfer.stats.dig(:workers, :serve, :processes).map { |worker| worker[:in_flight] }).to eq([0])
    end

    it "is replaced by one when it is killed, and every open call hears of it" do
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

    it "ends when nobody has been there for long enough, and leaves nothing" do
      visitor = client(idle_stop: 0.5)
      worker = visitor.call("pid")
      visitor.finish
      expect(gone?(worker)).to be(false)
      expect(eventually { gone?(worker) }).to be(true)
      expect(files).to eq([])
      use
      expect(pid).not_to eq(worker)
    end

    it "stays while somebody is there, and who has been idle leaves" do
      backend = use(idle_stop: 0.6)
      worker = pid
      sleep 0.9
      expect(gone?(worker)).to be(false)
      expect(backend.serve.pid).to be_nil
      expect(eventually { gone?(worker) }).to be(true)
    end

    it "is ended by whoever says so; open calls end with Cancelled, and the next starts another" do
      other = client
      worker = other.call("pid")
      other.ask("wait_for_cancel")
      sleep 0.1
      Process.kill(:TERM, worker)
      expect(other.answer).to eq({ "error" => "Transfer::Cancelled", "message" => "cancelled" })
      expect(eventually { gone?(worker) }).to be(true)
      expect(files).to eq([])
      expect(other.call("pid")).not_to eq(worker)
    end
  end

  describe "its limits" do
    it "replace it without any call that fails" do
      clients = Array.new(3) { client(max_requests: 20) }
      asked = clients.map { |each| Thread.new { Array.new(300) { each.call("pid").tap { sleep 0.005 } } } }
      pids = asked.flat_map(&:value)
      expect(pids).to all(be_an(Integer))
      expect(pids.uniq.size).to be > 2
      expect(eventually { Sharing.workers(folder).size <= 1 }).to be(true)
    end

    it "let a call that goes on end" do
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

    it "are those of its memory, too" do
      use(max_memory: 1_000_000)
      first = pid
      expect(eventually { gone?(first) }).to be(true)
    end
  end

  it "moves when somebody deletes its files" do
    use
    first = pid
    FileUtils.rm_rf(folder)
    expect(eventually { gone?(first) }).to be(true)
    FileUtils.mkdir(folder, mode: 0o700)
    expect(pid).not_to eq(first)
  end
end
