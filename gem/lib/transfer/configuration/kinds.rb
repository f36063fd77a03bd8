# frozen_string_literal: true

module Transfer
  class Configuration
    # Conversion of settings from values in Ruby and from text in the environment. Each raises {Refused} with the
    # expected values.
    module Kinds
      # Invalid value of a setting.
      class Refused < StandardError; end

      # Words for nothing, no and yes.
      NOTHING = ["", "never", "none"].freeze
      OFF = ["", "0", "false", "no", "off"].freeze
      ON = %w[1 true yes on].freeze
      A_SIZE = 'a size such as "2GB"'
      # Of an environment variable.
      NAME = /\A[A-Za-z_][A-Za-z0-9_]*\z/
      BRIDGES = %i[subprocess pycall].freeze

      class << self
        def path(value) = value.nil? ? nil : text(value) || refuse("a path, or nil")

        def location(value) = value.nil? ? nil : text(value) || refuse("a path or an address, or nil")

        def switch(value) = yes_or_no(value) { refuse("true or false") }

        def sharing(value) = yes_or_no(value) { text(value) || refuse("true, false or a folder") }

        def seconds(value, takes = 'a number of seconds above 0, nil or "never"') = number(value, takes, &:positive?)

        def patience(value, takes = "a number of seconds above 0") = seconds(value, takes) || refuse(takes)

        def milliseconds(value)
          number(value, "a number of milliseconds from 0 on, or nil") { |number| !number.negative? }
        end

        def count(value)
          number(value, "a whole number above 0, or nil") { |number| number.is_a?(Integer) && number.positive? }
        end

        # 0 is a size, too.
        def size(value)
          size = value.is_a?(String) ? Amounts.bytes(value.b) || value : value
          number(size, A_SIZE) { |number| number.is_a?(Integer) && !number.negative? }
        end

        def bytes(value) = size(value).tap { |bytes| refuse(A_SIZE) if bytes&.zero? }

        def age(value)
          seconds = value.is_a?(String) ? Amounts.seconds(value.b) || value : value
          seconds(seconds, 'a time such as "30d", or nil')
        end

        def names(value)
          names = value.is_a?(String) ? value.scrub.split(/[\s,]+/) : Array(value)
          named = names.all? { |name| (name.is_a?(String) || name.is_a?(Symbol)) && name.to_s.b.match?(NAME) }
          named ? names.map(&:to_s) : refuse('a list of names such as "AWS_PROFILE", without patterns')
        end

        def bridge(value)
          BRIDGES.find { |bridge| bridge.to_s == value.to_s } || refuse("one of #{BRIDGES.map(&:inspect).join(', ')}")
        end

        def public_keys(value) = value.nil? ? nil : Signature::Keys.public(value)

        def logger(value)
          tells = %i[debug info warn].all? { |level| value.respond_to?(level) }
          value.nil? || tells ? value : refuse("a Logger, or nil")
        end

        def executor(value)
          value.nil? || value == false || value.respond_to?(:wrap) ? value : refuse("an object with `wrap`, nil, false")
        end

        private

        def refuse(takes) = raise(Refused, takes)

        def text(value)
          value = value.to_path if value.respond_to?(:to_path)
          value.to_s if value.is_a?(String) || value.is_a?(Symbol)
        end

        # Not every path is UTF-8.
        def word(value) = value.to_s.b.downcase

        def yes_or_no(value)
          case word(value)
          when *ON then true
          when *OFF then false
          else yield
          end
        end

        def number(value, takes)
          return if NOTHING.include?(word(value))

          number = Float(value, exception: false)
          refuse(takes) unless number&.finite?
          number = number.to_i if number.to_i == number
          yield(number) ? number : refuse(takes)
        end
      end
    end
    private_constant :Kinds
  end
end
