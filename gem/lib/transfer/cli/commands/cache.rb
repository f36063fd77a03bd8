# frozen_string_literal: true

module Transfer
  module CLI
    # The cache of features and decoded data.
    class Cache < Command
      # The core's `limit` if TRANSFER_CACHE_LIMIT is "none".
      NO_LIMIT = (2**63) - 1
      private_constant :NO_LIMIT

      desc "stats", "Show what is cached, and its size"
      long_desc <<~TEXT
        Prints sizes by kind of data, the limit and the directory.

          transfer cache stats
      TEXT
      shared_options :json
      def stats
        stats = Bridge.call("cache_stats")
        output(stats) do
          limit = stats["limit"] < NO_LIMIT ? "of #{Amounts.size(stats['limit'])}" : "without a limit"
          parts = stats["parts"].map { |part| [part["name"], Amounts.size(part["bytes"]), contents(part)] }
          Table.render([*parts, ["total", Amounts.size(stats["bytes"]), "#{limit}, in #{stats['path']}"],
                        ["runs", Amounts.size(stats["runs"]), "trained models, not part of the cache"]])
        end
      end

      desc "verify", "Check all cached rows, and drop damaged ones"
      long_desc <<~TEXT
        Reads every row and compares its checksum.

          transfer cache verify
      TEXT
      shared_options :json
      def verify
        found = Bridge.call("cache_verify")
        output(found) do
          ["#{found['rows']} rows are intact, #{found['damaged']} were damaged and are dropped",
           *found["files"].map { |file| "#{file} was damaged and is deleted" }]
        end
      end

      desc "prune", "Delete what was not used for the longest time"
      long_desc <<~TEXT
        Without an option it keeps to the limit: 10 GB, or TRANSFER_CACHE_LIMIT.

          transfer cache prune
          transfer cache prune --max-size 2GB
          transfer cache prune --older-than 30d
      TEXT
      shared_options :max_size, :older_than, :json
      def prune
        shrink("cache_prune", { "max_bytes" => amount(:max_size, :bytes, "a size such as 500MB"),
                                "older_than_s" => amount(:older_than, :seconds, "a time such as 30d") }.compact)
      end

      desc "clear", "Delete the whole cache"
      long_desc <<~TEXT
        Models and runs are kept.

          transfer cache clear
      TEXT
      shared_options :json
      def clear = shrink("cache_clear", {})

      private

      def shrink(method, params)
        result = Bridge.call(method, params)
        output(result) { "#{Amounts.size(result['freed'])} freed, #{Amounts.size(result['left'])} left" }
      end

      def contents(part)
        used = Time.at(part["used_at"]).strftime("%F")
        [part["what"], part["rows"] && "#{part['rows']} rows", "last used #{used}"].compact.join(", ")
      end
    end
    private_constant :Cache

    class Root
      desc "cache COMMAND", "Show, check and shrink the cache"
      long_desc <<~TEXT
        Features of unchanged inputs are computed once per network, and kept in
        ~/.local/share/transfer/cache, or TRANSFER_HOME. It is safe to delete all of it;
        models are not part of it.
      TEXT
      subcommand "cache", Cache
    end
  end
end
