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
        said = Plain.printable(describe(message))
        text = "transfer #{pid || '(starting)'} #{ARROWS.fetch(way)} #{said} (#{bytes} bytes)"
        @logger ? @logger.debug(text) : warn(text)
      end

      private

      def describe(message)
        case message
        when Message::Request then "##{message.id} #{message.name} #{Plain.brief(message.params, LONGEST)}"
        when Message::Response then "##{message.id} #{outcome(message)}"
        when Message::Notification then "#{message.name} #{Plain.brief(message.params, LONGEST)}"
        end
      end

      def outcome(response)
        return Plain.brief(response.result, LONGEST) unless response.error

        "#{response.error['type']}: #{Plain.brief(response.error['message'], LONGEST)}"
      end
    end
  end
end
