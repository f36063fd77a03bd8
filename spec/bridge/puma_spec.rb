# frozen_string_literal: true

require "net/http"
require "socket"

# A real cluster: the app is loaded, and uses a worker, before Puma forks.
RSpec.describe "Puma in cluster mode with preload_app!" do
  # @param use [String] code that configures the worker of a process
  def app(use) = <<~RUBY
    #{Scripts::PRELUDE}
    #{use}
    preloaded = bridge.call("pid")
    run lambda { |_|
      unless ($mine ||= nil) == Process.pid
        $mine = Process.pid
        #{use}
      end
      sleep 0.01
      [200, {}, [[preloaded, Process.pid, bridge.call("pid")].join(" ")]]
    }
  RUBY

  # A process of Puma 6.6 on Ruby 3.3 at times never comes back from closing its own pipe, with any app: TERM writes to
  # that pipe from a trap. Puma kills it then, after half a minute by default.
  def puma(folder, port, use)
    File.write(File.join(folder, "config.ru"), app(use))
    File.write(File.join(folder, "puma.rb"), <<~RUBY)
      workers 2
      threads 2, 2
      preload_app!
      worker_shutdown_timeout 2
      bind "tcp://127.0.0.1:#{port}"
      log_requests false
    RUBY
    Process.spawn(RbConfig.ruby, "-I", Scripts::LIB, Gem.bin_path("puma", "puma"), "-C", "puma.rb", "config.ru",
                  chdir: folder, %i[out err] => File.join(folder, "log"))
  end

  def get(port) = Net::HTTP.get(URI("http://127.0.0.1:#{port}/")).split.map(&:to_i)

  def up?(port)
    get(port).size == 3
  rescue SystemCallError, EOFError
    false
  end

  # @yieldparam answers [Array(Integer, Integer, Integer)] to 8 threads: the worker that was there before the fork, the
  #   process that answered, its worker
  def serve(use)
    port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
    Dir.mktmpdir do |folder|
      server = puma(folder, port, use)
      expect(eventually(20) { up?(port) }).to be(true), File.read(File.join(folder, "log"))
      yield answers = ask(port)
      Process.kill(:TERM, server)
      expect(eventually(30) { Process.wait(server, Process::WNOHANG) }).to eq(server)
      expect_two(answers.map { |answer| answer[1] }.uniq)
    end
  end

  def ask(port) = Array.new(8) { Thread.new { Array.new(20) { get(port) } } }.flat_map(&:value)

  def expect_two(processes)
    expect(processes.size).to eq(2), "one process answered all"
    expect(eventually(2) { processes.all? { |pid| gone?(pid) } }).to be(true)
  end

  it "has a worker per process, and leaves none behind" do
    workers = nil
    serve('launch.("echo")') do |answers|
      expect(answers.map { |_, process, worker| [process, worker] }.uniq.size).to eq(2)
      workers = answers.map(&:last).uniq
      expect(workers.size).to eq(2)
      expect(workers).not_to include(answers.dig(0, 0))
    end
    expect(eventually(2) { workers.all? { |pid| gone?(pid) } }).to be(true)
  end

  describe "with a shared worker" do
    include_context "with a shared worker"

    it "has one worker for all processes, which ends after its idle time" do
      worker = nil
      serve(%(require "#{Sharing::FILE}"\nSharing.use("#{folder}", idle_stop: 4))) do |answers|
        expect(answers.flat_map { |before, _, now| [before, now] }.uniq).to eq(Sharing.workers(folder))
        worker = answers.dig(0, 0)
      end
      expect(gone?(worker)).to be(false)
      expect(eventually(20) { gone?(worker) }).to be(true)
      expect(files).to eq([])
    end
  end
end
