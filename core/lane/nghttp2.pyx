# What is used of libnghttp2 (https://nghttp2.org/documentation/) and of the system.

cdef extern from "<nghttp2/nghttp2.h>" nogil:
    ctypedef struct nghttp2_session:
        pass
    ctypedef struct nghttp2_session_callbacks:
        pass
    ctypedef struct nghttp2_option:
        pass
    ctypedef struct nghttp2_nv:
        uint8_t* name
        uint8_t* value
        size_t namelen
        size_t valuelen
        uint8_t flags
    ctypedef struct nghttp2_frame_hd:
        size_t length
        int32_t stream_id
        uint8_t type
        uint8_t flags
    ctypedef struct nghttp2_headers:
        int cat
    ctypedef union nghttp2_frame:
        nghttp2_frame_hd hd
        nghttp2_headers headers
    ctypedef union nghttp2_data_source:
        int fd
        void* ptr
    ctypedef ssize_t (*nghttp2_data_source_read_callback)(
        nghttp2_session* session, int32_t stream_id, uint8_t* buffer, size_t length,
        uint32_t* flags, nghttp2_data_source* source, void* user_data,
    ) noexcept nogil
    ctypedef struct nghttp2_data_provider:
        nghttp2_data_source source
        nghttp2_data_source_read_callback read_callback
    ctypedef struct nghttp2_mem:
        void* mem_user_data
        void* (*malloc)(size_t, void*) noexcept nogil
        void (*free)(void*, void*) noexcept nogil
        void* (*calloc)(size_t, size_t, void*) noexcept nogil
        void* (*realloc)(void*, size_t, void*) noexcept nogil
    ctypedef struct nghttp2_settings_entry:
        int32_t settings_id
        uint32_t value

    enum:
        NGHTTP2_DATA
        NGHTTP2_HEADERS
        NGHTTP2_PRIORITY
        NGHTTP2_RST_STREAM
        NGHTTP2_SETTINGS
        NGHTTP2_PING
        NGHTTP2_GOAWAY
        NGHTTP2_WINDOW_UPDATE
        NGHTTP2_FLAG_NONE
        NGHTTP2_FLAG_END_STREAM
        NGHTTP2_FLAG_ACK
        NGHTTP2_DATA_FLAG_EOF
        NGHTTP2_DATA_FLAG_NO_END_STREAM
        NGHTTP2_NV_FLAG_NONE
        NGHTTP2_NV_FLAG_NO_COPY_NAME
        NGHTTP2_NV_FLAG_NO_COPY_VALUE
        NGHTTP2_NO_ERROR
        NGHTTP2_CANCEL
        NGHTTP2_REFUSED_STREAM
        NGHTTP2_ENHANCE_YOUR_CALM
        NGHTTP2_INTERNAL_ERROR
        NGHTTP2_PROTOCOL_ERROR
        NGHTTP2_STREAM_CLOSED
        NGHTTP2_HCAT_REQUEST
        NGHTTP2_ERR_CALLBACK_FAILURE
        NGHTTP2_ERR_CANCEL
        NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
        NGHTTP2_ERR_BAD_CLIENT_MAGIC
        NGHTTP2_ERR_FLOODED
        NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        NGHTTP2_SETTINGS_ENABLE_PUSH

    int nghttp2_session_callbacks_new(nghttp2_session_callbacks** callbacks)
    void nghttp2_session_callbacks_del(nghttp2_session_callbacks* callbacks)
    void nghttp2_session_callbacks_set_on_begin_headers_callback(
        nghttp2_session_callbacks* callbacks,
        int (*callback)(nghttp2_session*, const nghttp2_frame*, void*) noexcept nogil,
    )
    void nghttp2_session_callbacks_set_on_header_callback(
        nghttp2_session_callbacks* callbacks,
        int (*callback)(
            nghttp2_session*, const nghttp2_frame*, const uint8_t*, size_t, const uint8_t*, size_t,
            uint8_t, void*,
        ) noexcept nogil,
    )
    void nghttp2_session_callbacks_set_on_begin_frame_callback(
        nghttp2_session_callbacks* callbacks,
        int (*callback)(nghttp2_session*, const nghttp2_frame_hd*, void*) noexcept nogil,
    )
    void nghttp2_session_callbacks_set_on_frame_recv_callback(
        nghttp2_session_callbacks* callbacks,
        int (*callback)(nghttp2_session*, const nghttp2_frame*, void*) noexcept nogil,
    )
    void nghttp2_session_callbacks_set_on_frame_send_callback(
        nghttp2_session_callbacks* callbacks,
        int (*callback)(nghttp2_session*, const nghttp2_frame*, void*) noexcept nogil,
    )
    void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        nghttp2_session_callbacks* callbacks,
        int (*callback)(
            nghttp2_session*, uint8_t, int32_t, const uint8_t*, size_t, void*
        ) noexcept nogil,
    )
    void nghttp2_session_callbacks_set_on_stream_close_callback(
        nghttp2_session_callbacks* callbacks,
        int (*callback)(nghttp2_session*, int32_t, uint32_t, void*) noexcept nogil,
    )
    void nghttp2_session_callbacks_set_unpack_extension_callback(
        nghttp2_session_callbacks* callbacks,
        int (*callback)(
            nghttp2_session*, void**, const nghttp2_frame_hd*, void*
        ) noexcept nogil,
    )
    int nghttp2_option_new(nghttp2_option** option)
    void nghttp2_option_del(nghttp2_option* option)
    void nghttp2_option_set_no_closed_streams(nghttp2_option* option, int value)
    void nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(
        nghttp2_option* option, int value
    )
    void nghttp2_option_set_max_outbound_ack(nghttp2_option* option, size_t value)
    void nghttp2_option_set_max_settings(nghttp2_option* option, size_t value)
    void nghttp2_option_set_max_continuations(nghttp2_option* option, size_t value)
    void nghttp2_option_set_max_reserved_remote_streams(nghttp2_option* option, uint32_t value)
    void nghttp2_option_set_stream_reset_rate_limit(
        nghttp2_option* option, uint64_t burst, uint64_t rate
    )
    void nghttp2_option_set_user_recv_extension_type(nghttp2_option* option, uint8_t kind)
    int nghttp2_session_server_new3(
        nghttp2_session** session, const nghttp2_session_callbacks* callbacks, void* user_data,
        const nghttp2_option* option, nghttp2_mem* memory,
    )
    void nghttp2_session_del(nghttp2_session* session)
    ssize_t nghttp2_session_mem_recv(nghttp2_session* session, const uint8_t* data, size_t length)
    ssize_t nghttp2_session_mem_send(nghttp2_session* session, const uint8_t** data)
    int nghttp2_session_want_read(nghttp2_session* session)
    int nghttp2_session_want_write(nghttp2_session* session)
    int nghttp2_session_set_stream_user_data(nghttp2_session* session, int32_t id, void* data)
    void* nghttp2_session_get_stream_user_data(nghttp2_session* session, int32_t id)
    int32_t nghttp2_session_get_last_proc_stream_id(nghttp2_session* session)
    int nghttp2_session_set_local_window_size(
        nghttp2_session* session, uint8_t flags, int32_t id, int32_t size
    )
    int nghttp2_session_terminate_session(nghttp2_session* session, uint32_t error)
    int nghttp2_submit_settings(
        nghttp2_session* session, uint8_t flags, const nghttp2_settings_entry* entries,
        size_t count,
    )
    int nghttp2_submit_response(
        nghttp2_session* session, int32_t id, const nghttp2_nv* headers, size_t count,
        const nghttp2_data_provider* provider,
    )
    int nghttp2_submit_trailer(
        nghttp2_session* session, int32_t id, const nghttp2_nv* headers, size_t count
    )
    int nghttp2_submit_rst_stream(
        nghttp2_session* session, uint8_t flags, int32_t id, uint32_t error
    )
    int nghttp2_submit_ping(nghttp2_session* session, uint8_t flags, const uint8_t* data)
    int nghttp2_submit_shutdown_notice(nghttp2_session* session)
    int nghttp2_submit_goaway(
        nghttp2_session* session, uint8_t flags, int32_t last, uint32_t error,
        const uint8_t* data, size_t length,
    )


cdef extern from "lane/native.h" nogil:
    ctypedef uint32_t socklen_t
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        uint16_t ss_family
    ctypedef union epoll_data_t:
        void* ptr
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        AF_UNIX
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        MSG_NOSIGNAL
        SHUT_WR
        EPOLLIN
        EPOLLOUT
        EPOLLHUP
        EPOLLERR
        EPOLLEXCLUSIVE
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLL_CLOEXEC
        EFD_NONBLOCK
        EFD_CLOEXEC
        EINTR
        ECONNABORTED
    int errno
    int accept4(int fd, sockaddr* address, socklen_t* length, int flags)
    ssize_t recv(int fd, void* buffer, size_t length, int flags)
    ssize_t send(int fd, const void* data, size_t length, int flags)
    int shutdown(int fd, int how)
    int close(int fd)
    int epoll_create1(int flags)
    int epoll_wait(int fd, epoll_event* events, int most, int timeout_ms)
    int eventfd(unsigned int initial, int flags)
    int eventfd_write(int fd, uint64_t value)
    int eventfd_read(int fd, uint64_t* value)
    int64_t wall_us()
    int64_t steady_us()
    void flag_write(int64_t* flag, int64_t value)
    int64_t flag_read(const int64_t* flag)
    cpp_bool would_block()
    uint64_t peer_key(const sockaddr_storage* address, int64_t uid)
    int64_t peer_uid(int fd)
    void send_at_once(int fd)
    cpp_bool watch_set(int epoll_fd, int operation, int fd, uint32_t events, void* owner)
