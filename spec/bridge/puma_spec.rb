# frozen_string_literal: true

require "net/http"
require "socket"

# A real cluster: the app is loaded, and uses a worker, before Puma forks.
RSpec.describe "Puma in cluster mode with preload_app!" do
  def app = <<~RUBY
    #{Scripts::PRELUDE}
    launch.("echo")
    preloaded = bridge.call("pid")
    run lambda { |_|
      launch.("echo") unless ($mine ||= nil) == Process.pid
      $mine = Process.pid
      bridge.call("slow", { "seconds" => 0.01 })
      [200, {}, [[preloaded, Process.pid, bridge.call("pid")].join(" ")]]
    }
  RUBY

  def puma(folder, port)
    File.write(File.join(folder, "config.ru"), app)
    File.write(File.join(folder, "puma.rb"), <<~RUBY)
      workers 2
      threads 2, 2
      preload_app!
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

  it "gives every process a worker of its own, and leaves none behind" do
    port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
    Dir.mktmpdir do |folder|
      server = puma(folder, port)
      expect(eventually(20) { up?(port) }).to be(true), File.read(File.join(folder, "log"))
      answers = Array.new(8) { Thread.new { Array.new(20) { get(port) } } }.flat_map(&:value)
      preloaded = answers.map(&:first).uniq
      pairs = answers.map { |answer| answer.drop(1) }.uniq
      expect(preloaded.size).to eq(1)
      expect(pairs.map(&:first).uniq.size).to eq(2), "one process answered all"
      expect(pairs.map(&:last).uniq.size).to eq(pairs.size)
      expect(pairs.map(&:last)).not_to include(preloaded.first)
      Process.kill(:TERM, server)
      expect(eventually(10) { Process.wait(server, Process::WNOHANG) }).to eq(server)
      expect(eventually(2) { [*preloaded, *pairs.flatten].all? { |pid| gone?(pid) } }).to be(true)
    end
  end
end
