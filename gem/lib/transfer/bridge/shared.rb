# frozen_string_literal: true

require_relative "shared/client"

module Transfer
  module Bridge
    # A worker that belongs to all processes of this user: whoever comes first starts it, and it outlives us.
    # docs/reference/protocol.md, "A shared worker".
    module Shared
      # Seconds that it has to go when it is told to, then when it is killed.
      PATIENCE = { "TERM" => 5, "KILL" => 2 }.freeze
      LOOK_AGAIN_S = 0.02
      # Seconds that it has to answer who only looks.
      LOOK_S = 5
      private_constant :PATIENCE, :LOOK_AGAIN_S, :LOOK_S

      class << self
        # @return [Launch]
        # @raise [ConfigurationError] if nothing can be shared here
        def launch(config = Transfer.config)
          own = for_all(config)
          place = rendezvous(own, config)
          own.with(limits: Limits.new(idle_stop: config.idle_stop),
                   child: ->(_, memory, &given_up) { Client.new(own, memory, place, &given_up) })
        end

        # Looks at the worker; starts none.
        # @return [Hash{Symbol => Object}, nil] `pid`, `memory` (bytes), `serving`, and `seconds` that an empty call
        #   takes; nil if there is no worker
        # @raise [TimeoutError] if it does not answer
        def look
          return unless found { true }

          worker = Worker.new { launch.with(startup_timeout: LOOK_S) }
          serving = Look.parse(worker.call(Look::METHOD, {}).value(LOOK_S))
          asked = now
          worker.call(Doubt::QUESTION, {}).value(LOOK_S)
          seconds = now - asked
          pid = worker.pid or return
          { pid:, memory: Memory.resident(pid), serving:, seconds: }
        ensure
          worker&.stop
        end

        # Ends the worker, whoever uses it, and waits for its end.
        # @return [Integer, nil] the process that it was
        def stop
          found do |pid|
            PATIENCE.each { |signal, seconds| break if end_with(signal, pid, seconds) }
            pid
          end
        end

        private

        # @yieldparam pid [Integer] of the worker, if there is one
        # @return what the block returns
        def found(config = Transfer.config)
          place = rendezvous(for_all(config), config)
          line = place.connect or return
          yield place.worker_of(line)
        ensure
          line&.close
        end

        # It works from another folder, where a relative path would be another.
        def for_all(config)
          own = Subprocess.launch(config)
          own.with(env: { **own.env, "TRANSFER_HOME" => Python.home })
        end

        # Another process must not raise the limits of ours.
        def rendezvous(launch, config)
          limits = Configuration::LIMITS.map { |name| "TRANSFER_#{name.upcase}" }
          Rendezvous.new(config.shared_worker || true, VERSION, Greeting::PROTOCOL, launch.command,
                         launch.env.values_at("TRANSFER_HOME", "TRANSFER_OFFLINE", "PYTHONPATH", *limits))
        end

        # @return [Boolean] whether it has gone
        def end_with(signal, pid, seconds)
          Process.kill(signal, pid)
          limit = now + seconds
          sleep LOOK_AGAIN_S until (gone = gone?(pid)) || now > limit
          gone
        rescue Errno::ESRCH
          true
        end

        # A process that nobody has waited for yet has no memory any more.
        def gone?(pid) = [nil, 0].include?(Memory.resident(pid))

        def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
