# frozen_string_literal: true

require "json"
require "socket"

# A shared worker: the real server, with methods that need no torch.
module Sharing
  FILE = File.expand_path(__FILE__)
  ROOT = File.expand_path("../..", __dir__)
  FAKE = File.join(ROOT, "tests/worker/fake_worker.py")
  PATH = %w[python tests].map { |folder| File.join(ROOT, folder) }.join(":")

  class << self
    # Makes `Transfer` use a worker in `folder`, in this process and its forked children.
    # @param idle_stop [Numeric, nil] of this client, and of the worker
    # @param limits [Hash] of the worker
    # @return [Transfer::Bridge::Pool]
    def use(folder, command: [ENV.fetch("TRANSFER_PYTHON"), FAKE], startup_timeout: 20, idle_stop: nil, **limits)
      own = launch(command, startup_timeout, bridge::LaunchOptions::Limits.new(idle_stop:, **limits))
      endpoint = bridge::SharedWorker::Endpoint.new(folder, "spec")
      process = ->(_, memory, &given_up) { bridge::WorkerProcess::Shared.new(own, memory, endpoint, &given_up) }
      shared = own.with(process:, limits: bridge::LaunchOptions::Limits.new(idle_stop:))
      bridge::Pool.new(shared: -> { shared }) { own }.tap { |backend| bridge.replace(backend) }
    end

    # @return [Array<Integer>] the workers of a folder
    def workers(folder)
      Dir["/proc/[0-9]*/cmdline"].filter_map do |file|
        File.dirname(file)[/\d+/].to_i if File.read(file).include?("--listen\0#{folder}/")
      rescue Errno::ENOENT, Errno::ESRCH # it has ended meanwhile
        nil
      end
    end

    def bridge = Transfer.const_get(:Bridge)

    private

    def launch(command, startup_timeout, limits)
      env = { "PATH" => ENV.fetch("PATH"), "PYTHONPATH" => PATH }
      bridge::LaunchOptions.new(command:, env:, startup_timeout:, limits:)
    end
  end

  # A forked process that executes the calls it is sent, and sends back their results or errors.
  class Client
    attr_reader :pid

    # @param timeout [Numeric] of its calls
    def initialize(folder, timeout: 600, **)
      @here, there = UNIXSocket.pair
      @pid = fork do
        @here.close
        Transfer.config.timeout = timeout
        Sharing.use(folder, **)
        serve(there)
      end
      there.close
    end

    def ask(name, params = {})
      @here.puts(JSON.generate([name, params]))
      self
    end

    # @return [Object] the result of the next call
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

    # Ends it regularly.
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
end
