# frozen_string_literal: true

module Transfer
  # The user's own lines of a stack.
  module Backtrace
    ROOM = "#{__dir__}/".freeze
    DOOR = "#{__dir__}.rb".freeze
    COMMAND_LINE = "#{__dir__}/cli".freeze
    private_constant :ROOM, :DOOR, :COMMAND_LINE

    class << self
      # @return [Thread::Backtrace::Location, nil] the line of the user's code that led here; nil where that is
      #   a command line
      def user_location
        Thread.each_caller_location do |location|
          file = location.absolute_path || location.path
          return nil if file.start_with?(COMMAND_LINE)
          return location unless inside?(file)
        end
        nil
      end

      # @param error [Exception]
      # @return [Thread::Backtrace::Location, nil] the user's innermost line that raised it
      def location_of(error)
        error.backtrace_locations&.find { |frame| !inside?(frame.absolute_path || frame.path) }
      end

      # @return [Array<String>] the frames of this thread that lie outside the gem
      def outside_gem
        caller_locations(1).reject { |frame| inside?(frame.absolute_path || frame.path) }.map(&:to_s)
      end

      # The user's lines first, then Python's, innermost first as Ruby writes them.
      def with_python(frames) = outside_gem + frames.reverse

      private

      def inside?(file) = file.start_with?(ROOM, "<internal:") || file == DOOR
    end
  end
  private_constant :Backtrace
end
