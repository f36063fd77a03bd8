# frozen_string_literal: true

require "open3"
require "rbconfig"

# Ruby programs in processes of their own.
module Scripts
  LIB = File.expand_path("../../gem/lib", __dir__)
  PRELUDE = <<~RUBY.freeze
    $stdout.sync = true
    require "transfer"
    bridge = Transfer.const_get(:Bridge)
    launch = lambda do |worker|
      command = [#{ENV.fetch('TRANSFER_PYTHON').inspect}, "#{__dir__}/workers/\#{worker}.py"]
      bridge::Pool.new { bridge::LaunchOptions.new(command:) }.tap { |backend| bridge.replace(backend) }
    end
  RUBY

  # @return [Array(String, Process::Status)] its output, and its exit
  def ruby(code) = Open3.capture2e(RbConfig.ruby, "-w", "-I", LIB, stdin_data: PRELUDE + code)

  # Runs it during the block.
  # @yieldparam output [IO]
  # @yieldparam pid [Integer]
  # @return [Process::Status] its exit
  def ruby_running(code)
    Open3.popen2e(RbConfig.ruby, "-w", "-I", LIB, "-e", PRELUDE + code) do |stdin, output, process|
      stdin.close
      yield output, process.pid
      process.value
    end
  end

  # @return the result of the block in a forked child
  def in_child
    read, write = IO.pipe
    child = fork do
      read.close
      write << Marshal.dump(yield)
      write.close
      exit!(0)
    end
    write.close
    Marshal.load(read.read) # rubocop:disable Security/MarshalLoad -- our own child wrote it
  ensure
    read&.close
    Process.wait(child) if child
  end
end
