# frozen_string_literal: true

module Transfer
  # Bytes and times as people write them.
  module Amounts
    BYTES = { "" => 1, "K" => 1e3, "M" => 1e6, "G" => 1e9, "T" => 1e12,
              "KI" => 2**10, "MI" => 2**20, "GI" => 2**30, "TI" => 2**40 }.freeze
    SECONDS = { "s" => 1, "m" => 60, "h" => 3600, "d" => 86_400, "w" => 604_800 }.freeze
    private_constant :BYTES, :SECONDS

    class << self
      # @param text [String] `500MB`, `2 GiB`, `1000`
      # @return [Integer, nil] bytes; nil if it is no size
      def bytes(text)
        number, unit = text.strip.upcase.match(/\A(\d+(?:\.\d+)?) *([KMGT]I?)?B?\z/)&.captures
        (number.to_f * BYTES.fetch(unit.to_s)).round if number
      end

      # @param text [String] `12h`, `30d`
      # @return [Float, nil] seconds; nil if it is no time
      def seconds(text)
        number, unit = text.match(/\A(\d+(?:\.\d+)?) ?([smhdw])\z/)&.captures
        number.to_f * SECONDS.fetch(unit) if number
      end

      # @param bytes [Integer]
      # @return [String] such as `41.6 MB`
      def size(bytes)
        return "#{bytes} B" if bytes < 1000

        unit = %w[T G M K].find { |name| bytes >= BYTES.fetch(name) }
        format("%.1f %sB", bytes / BYTES.fetch(unit), unit.sub("K", "k"))
      end

      # @param seconds [Float]
      # @return [String] such as `12 s`, `3 min` or `2 h 5 min`
      def duration(seconds)
        return "#{seconds.ceil} s" if seconds < 90

        hours, minutes = (seconds / 60).round.divmod(60)
        hours.zero? ? "#{minutes} min" : "#{hours} h #{minutes} min"
      end

      # @param seconds [Float]
      # @return [String] such as `0.15 ms`
      def milliseconds(seconds) = format("%.2f ms", seconds * 1000)
    end
  end
end
