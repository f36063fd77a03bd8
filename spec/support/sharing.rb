# frozen_string_literal: true

# A worker that several processes share: the real server, around methods that need no torch.
module Sharing
  ROOT = File.expand_path("../..", __dir__)
  FAKE = File.join(ROOT, "tests/worker/fake_worker.py")
  PATH = %w[python tests].map { |folder| File.join(ROOT, folder) }.join(":")

  class << self
    # Has `Transfer` use a worker in `folder` from now on, in this process and those that fork from it.
    # @param idle_stop [Numeric, nil] of us, and of the worker
    # @param limits [Hash] of the worker
    # @return [Transfer::Bridge::Subprocess]
    def use(folder, command: [ENV.fetch("TRANSFER_PYTHON"), FAKE], startup_timeout: 20, idle_stop: nil, **limits)
      own = launch(command, startup_timeout, bridge::Limits.new(idle_stop:, **limits))
      place = bridge::Rendezvous.new(folder, "spec")
      shared = own.with(child: ->(_, memory, &given_up) { bridge::Shared.new(own, memory, place, &given_up) },
                        limits: bridge::Limits.new(idle_stop:))
      bridge::Subprocess.new(shared: -> { shared }) { own }.tap { |backend| bridge.replace(backend) }
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
      bridge::Launch.new(command:, env:, startup_timeout:, limits:)
    end
  end
end
