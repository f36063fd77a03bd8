# frozen_string_literal: true

module Transfer
  module Bridge
    module PyCall
      # Processes in which Python must not be loaded.
      module Preconditions
        ALTERNATIVE = "set Transfer.config.bridge = :subprocess"

        class << self
          # @raise [ConfigurationError] with the reason
          def check
            reason = forked || under_puma || under_sidekiq || shared
            raise ConfigurationError, "bridge = :pycall does not work #{reason}. Fix: #{ALTERNATIVE}" if reason
          end

          # @raise [ConfigurationError] if other code has loaded a Python, and owns its threads and lock
          def check_other_python
            other = loaded_by_pycall || library
            return unless other

            raise ConfigurationError, "bridge = :pycall does not work where another Python is loaded (#{other}), as " \
                                      "a process holds one. Fix: let Transfer load it first, or #{ALTERNATIVE}"
          end

          private

          def forked
            return if Process.pid == Configuration::ORIGIN

            "in a forked process, as Python's threads are not copied (the gem was loaded by process " \
              "#{Configuration::ORIGIN})"
          end

          # A console loads Puma, too, but does not run it.
          def under_puma
            servers = %i[Launcher Server].filter_map { |name| puma(name) }
            "under Puma, whose workers fork and whose threads would wait for one Python" if
              servers.any? { |server| ObjectSpace.each_object(server).any? }
          end

          def puma(name)
            ::Puma.const_get(name) if defined?(::Puma) && ::Puma.const_defined?(name) && !::Puma.autoload?(name)
          end

          def under_sidekiq
            "under Sidekiq, whose threads would wait for one Python" if
              defined?(::Sidekiq) && ::Sidekiq.respond_to?(:server?) && ::Sidekiq.server?
          end

          def shared = ("with shared_worker, which is a process of its own" if Transfer.config.shared_worker)

          def loaded_by_pycall
            "by the pycall gem" if defined?(::PyCall::LibPython) &&
                                   ::PyCall::LibPython.instance_variable_defined?(:@handle)
          end

          def library
            File.read("/proc/self/maps")[%r{/\S*libpython[\d.]+\S*}]
          rescue SystemCallError # not Linux
            nil
          end
        end
      end
    end
  end
end
