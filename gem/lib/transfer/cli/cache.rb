# frozen_string_literal: true

module Transfer
  # What is kept of earlier work.
  class CLI
    CACHE_ACTIONS = %w[stats verify prune clear].freeze
    # What the core says if `TRANSFER_CACHE_LIMIT` is "none".
    NO_LIMIT = (2**63) - 1
    private_constant :CACHE_ACTIONS, :NO_LIMIT

    desc "cache [ACTION]", "What is kept of earlier work: look, check, make room"
    long_desc <<~TEXT, wrap: false
      No photo is computed twice with the same network, nor read twice if it did not
      change. What is kept for that lies in ~/.local/share/transfer/cache, or in
      TRANSFER_HOME. All of it may be deleted at any time; models are not part of it.

        transfer cache stats                     what is there
        transfer cache verify                    check it; what is damaged is dropped
        transfer cache prune                     keep to the limit: 10 GB, or
                                                 TRANSFER_CACHE_LIMIT
        transfer cache prune --max-size 2GB      what was used last stays
        transfer cache prune --older-than 30d    what was not used for 30 days goes
        transfer cache clear                     delete all of it
    TEXT
    option :max_size, banner: "SIZE", desc: "prune: how much may stay, such as 500MB"
    option :older_than, banner: "TIME", desc: "prune: unused for so long, such as 12h or 30d"
    json_option
    # Looks after the cache.
    def cache(action = "stats")
      raise Thor::Error, Suggestion.unknown("action", action, CACHE_ACTIONS) unless CACHE_ACTIONS.include?(action)

      result = Bridge.call("cache_#{action}", cache_words(action))
      answer(result) { send(:"say_cache_#{action}", result) }
    end

    private

    def cache_words(action)
      words = { "max_bytes" => amount(:max_size, :bytes, "a size such as 500MB"),
                "older_than_s" => amount(:older_than, :seconds, "a time such as 30d") }.compact
      raise Thor::Error, "--max-size and --older-than belong to prune" unless words.empty? || action == "prune"

      words
    end

    def amount(option, kind, expected)
      text = options[option]
      return unless text

      Amounts.send(kind, text) ||
        raise(Thor::Error, "--#{option.to_s.tr('_', '-')} takes #{expected}, got #{text}")
    end

    def say_cache_stats(stats)
      limit = stats["limit"] < NO_LIMIT ? "of #{Amounts.size(stats['limit'])}" : "without a limit"
      parts = stats["parts"].map { |part| [part["name"], Amounts.size(part["bytes"]), contents(part)] }
      puts Table.render([*parts,
                         ["all", Amounts.size(stats["bytes"]), "#{limit}, in #{stats['path']}"],
                         ["runs", Amounts.size(stats["runs"]), "trained models, which are not part of it"]])
    end

    def contents(part)
      used = Time.at(part["used_at"]).strftime("%F")
      [part["what"], part["rows"] && "#{part['rows']} rows", "last used #{used}"].compact.join(", ")
    end

    def say_cache_verify(found)
      puts "#{found['rows']} rows are whole, #{found['damaged']} were damaged and are dropped"
      found["files"].each { |file| puts "#{file} was damaged and is deleted" }
    end

    def say_cache_prune(result)
      puts "#{Amounts.size(result['freed'])} freed, #{Amounts.size(result['left'])} left"
    end
    alias say_cache_clear say_cache_prune
  end
end
