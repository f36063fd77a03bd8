# frozen_string_literal: true

module Transfer
  module Bridge
    # The first call to a worker: compares the protocol versions.
    class Handshake
      METHOD = "hello"
      PROTOCOL = 1

      # @yieldparam method [String]
      # @yieldparam params [Hash]
      # @yieldreturn [Call] the call, sent
      def initialize
        @call = yield METHOD, { "protocol" => PROTOCOL, "gem_version" => VERSION }
      end

      def done? = @call.done?

      # Waits for the response, which all waiting threads share.
      # @param timeout [Numeric] seconds
      # @raise [VersionMismatch, TimeoutError, DependencyError, WorkerCrashed]
      def check(timeout)
        protocol, core_version = @call.value(timeout).values_at("protocol", "core_version")
        return if protocol == PROTOCOL

        raise VersionMismatch, "transfer-rb #{VERSION} uses protocol #{PROTOCOL}, transfer-core #{core_version} uses " \
                               "#{protocol}. Fix: transfer setup"
      end

      # @return [Boolean] whether the worker has that method
      def supports?(method) = @call.value.fetch("capabilities", []).include?(method)
    end
  end
end
