# frozen_string_literal: true

module Transfer
  module Bridge
    # Every message in one line, for `TRANSFER_DEBUG=1`:
    #
    #   transfer 4711 -> #7 predict {"model" => "m.transfer", "inputs" => ["a.jpg"]} (132 bytes)
    #   transfer 4711 <- #7 [{"label" => "cat", ...}] (88 bytes)
    class Trace
      LONGEST = 160
      ARROWS = { sent: "->", received: "<-" }.freeze

      # @param logger [Logger, nil] nil: standard error
      def initialize(logger = nil)
        @logger = logger
      end

      # @param way [Symbol] :sent or :received
      # @param message [Message::Request, Message::Response, Message::Notification]
      def line(way, message, bytes, pid)
        text = "transfer #{pid || '(starting)'} #{ARROWS.fetch(way)} #{describe(message)} (#{bytes} bytes)"
        @logger ? @logger.debug(text) : warn(text)
      end

      private

      def describe(message)
        case message
        when Message::Request then "##{message.id} #{message.name} #{brief(message.params)}"
        when Message::Response then "##{message.id} #{outcome(message)}"
        when Message::Notification then "#{message.name} #{brief(message.params)}"
        end
      end

      def outcome(response)
        response.error ? "#{response.error['type']}: #{cut(response.error['message'].inspect)}" : brief(response.result)
      end

      def brief(value) = cut(outline(value).inspect)

      # Photos and long lists are not worth being turned into text first.
      def outline(value)
        case value
        when String then value.encoding == Encoding::BINARY ? "#{value.bytesize} bytes" : value[0, LONGEST]
        when Array then value.first(8).map { |item| outline(item) }
        when Hash then value.first(8).to_h.transform_values { |item| outline(item) }
        else value
        end
      end

      def cut(text) = text.length > LONGEST ? "#{text[0, LONGEST]}..." : text
    end
  end
end
