# frozen_string_literal: true

module Transfer
  module CLI
    # PNG pictures between the lines of a terminal, by the protocols of kitty and iTerm2.
    module Pictures
      # Bytes of Base64 in one escape sequence of kitty, at most.
      CHUNK = 4096
      KITTY_TERMS = %w[xterm-kitty xterm-ghostty].freeze
      ITERM_PROGRAMS = %w[iTerm.app WezTerm mintty].freeze
      private_constant :CHUNK, :KITTY_TERMS, :ITERM_PROGRAMS

      # @param io [IO] standard output
      # @param wanted [Boolean, nil] `--pictures`, `--no-pictures` or neither, which leaves it to `TRANSFER_PICTURES`
      # @return [Symbol, nil] :kitty or :iterm; nil where pictures are off, or `io` is not such a terminal
      def self.protocol(io, wanted, env = ENV)
        wanted = env["TRANSFER_PICTURES"] != "0" if wanted.nil?
        return if !wanted || !io.tty? || env.key?("TMUX") || env.key?("STY") # multiplexers drop the sequences

        terminal(env)
      end

      def self.terminal(env)
        return :kitty if env["KITTY_WINDOW_ID"] || KITTY_TERMS.include?(env["TERM"])

        :iterm if ITERM_PROGRAMS.include?(env["TERM_PROGRAM"]) || env["LC_TERMINAL"] == "iTerm2"
      end
      private_class_method :terminal

      # @param png [String]
      # @param protocol [Symbol] :kitty or :iterm
      # @return [String] the escape sequences, and a line break
      def self.encode(png, protocol)
        data = [png].pack("m0")
        return "\e]1337;File=inline=1;size=#{png.bytesize}:#{data}\a\n" if protocol == :iterm

        *chunks, last = data.scan(/.{1,#{CHUNK}}/o)
        chunks = [*chunks.map { |chunk| "m=1;#{chunk}" }, "m=0;#{last}"]
        chunks[0] = "a=T,f=100,q=2,#{chunks[0]}" # draw a PNG, send no response
        "#{chunks.map { |chunk| "\e_G#{chunk}\e\\" }.join}\n"
      end
    end
    private_constant :Pictures
  end
end
