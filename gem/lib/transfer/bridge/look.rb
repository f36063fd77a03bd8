# frozen_string_literal: true

module Transfer
  module Bridge
    # What a worker says of its predictions, to whoever looks at it; to look is no use of it.
    module Look
      METHOD = "serving"
      # Seconds that it has to say it.
      PATIENCE_S = 0.5

      class << self
        # @param connection [Connection]
        # @return [Hash{Symbol => Hash}] `serving`; nothing if it does not say it soon
        def at(connection)
          call = connection.open(METHOD, {}, awaited: true) if connection.can?(METHOD)
          call&.wait(PATIENCE_S) ? { serving: parse(call.value) } : {}
        rescue Error
          {}
        end

        # Keys of maps are text on the wire.
        # @param said [Hash] the answer
        # @return [Hash{Symbol => Object}]
        def parse(said)
          serving = Plain.symbolize(said)
          batches = serving[:batches]
          { **serving, batches: { **batches, sizes: batches[:sizes].transform_keys { |size| size.to_s.to_i } } }
        end
      end
    end
  end
end
