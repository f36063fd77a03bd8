# frozen_string_literal: true

module Transfer
  module Bridge
    # The three shapes of MessagePack-RPC, with named parameters.
    module Message
      # Asks for an answer.
      Request = ::Data.define(:id, :name, :params) do
        def to_wire = [0, id, name, params]
      end

      # Answers; one of `error` and `result` is nil.
      Response = ::Data.define(:id, :error, :result) do
        def to_wire = [1, id, error, result]
      end

      # Tells.
      Notification = ::Data.define(:name, :params) do
        def to_wire = [2, name, params]
      end

      MAX_ID = (2**32) - 1

      class << self
        # @return [Request, Response, Notification]
        # @raise [ProtocolError] for anything else
        def parse(wire)
          case wire
          in [0, id, name, params] then Request.new(id(id), name(name), map(params))
          in [1, id, error, result] then response(id(id), error, result)
          in [2, name, params] then Notification.new(name(name), map(params))
          else raise ProtocolError, "not a message: #{Plain.brief(wire)}"
          end
        end

        private

        def id(value)
          return value if value.is_a?(Integer) && value.between?(0, MAX_ID)

          raise ProtocolError, "the id of a message is #{Plain.brief(value)}, expected an unsigned 32-bit integer"
        end

        def name(value)
          return value if value.is_a?(String) && value.encoding == Encoding::UTF_8 && !value.empty?

          raise ProtocolError, "the method of a message is #{Plain.brief(value)}, expected a name"
        end

        def map(value)
          return value if value.is_a?(Hash)

          raise ProtocolError, "the params of a message are #{Plain.brief(value)}, expected a map"
        end

        def response(id, error, result)
          raise ProtocolError, "a response has an error and a result" unless error.nil? || result.nil?
          unless error.nil? || error?(error)
            raise ProtocolError, "the error of a response is #{Plain.brief(error)}, expected type and message"
          end

          Response.new(id, error, result)
        end

        def error?(value)
          value.is_a?(Hash) && value.values_at("type", "message").all?(String) &&
            [Hash, NilClass].include?(value["details"].class)
        end
      end
    end
  end
end
