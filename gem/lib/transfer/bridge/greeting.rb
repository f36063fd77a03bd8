# frozen_string_literal: true

module Transfer
  module Bridge
    # The first call to a worker: what it speaks, and what it can do.
    class Greeting
      PROTOCOL = 1

      # @param dispatcher [Dispatcher] sends it at once
      def initialize(dispatcher)
        @call = dispatcher.open("hello", { "protocol" => PROTOCOL, "gem_version" => VERSION })
      end

      def done? = @call.done?

      # Waits for the answer; all who wait share the same.
      # @param timeout [Numeric] seconds
      # @raise [VersionMismatch, TimeoutError, DependencyError, WorkerCrashed]
      def check(timeout)
        protocol, core_version = @call.value(timeout).values_at("protocol", "core_version")
        return if protocol == PROTOCOL

        raise VersionMismatch, "transfer-rb #{VERSION} speaks protocol #{PROTOCOL}, transfer-core #{core_version} " \
                               "speaks #{protocol}: run `transfer setup`"
      end

      # @return [Boolean] true if the worker has a method of that name
      def offers?(name) = @call.value.fetch("capabilities", []).include?(name)
    end
  end
end
